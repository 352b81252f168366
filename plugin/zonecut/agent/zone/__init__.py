"""The child zone as its own primary has it: by queries, transfer or an adapter, cut down to what a delegation needs.

What the zone's public servers say is `evidence`.
"""
