"""The parent side: a child's signed message becomes a change of its delegation, or a refusal that names the rule.

One room after the other: `message` (admission, signature, replay), `keys` (what the signer's key is worth),
`change` (judged, recorded), `zone` (one a child at a time), `writer` (in the zone, proven). `checks` looks at the
child's servers before a change is believed; `announce` is what the parent publishes of us. Only `serve`,
`powerdns_api` and commands import it; it knows adapters by `plugin` alone.
"""
