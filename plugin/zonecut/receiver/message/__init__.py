"""From octets to a verified signer, and from a decision to octets: admission, SIG(0), replay, responses.

It knows nothing of delegations.
"""
