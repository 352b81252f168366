"""The child side: keep what the parent holds for a child zone in step with what the child says
(draft-ietf-dnsop-delegation-mgmt-via-ddns).

`zone_agent` takes one step after the other: `bootstrap` brings a key to trust, `sync` keeps the delegation,
`rollover` replaces the key; `transitions` says what follows from what, `state` is what is remembered. The rooms:
`zone` (the child's content), `parent` (who is announced, what the parent serves), `evidence` (what is proven, and
so may be signed), `exchange` (messages), `keys`, `pace`, and `doctor`. It knows nothing of `receiver`.
"""
