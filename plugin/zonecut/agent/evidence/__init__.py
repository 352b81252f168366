"""What is seen of a child zone in one look, and what of it may be signed (PROTOCOL section 9).

`zone_view` and `witnesses` ask every server; `ds_statement` and `desired` say what the child wants; `proof`, `transit`
and `soundness` judge it; `comparison` makes the UPDATE of it. The agent's steps use it, and the commands that show the
same. It knows no receiver and sends nothing to one.
"""
