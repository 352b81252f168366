"""Files that somebody names, read with care: regular ones only, secrets only where nobody else can read them.

And SIG(0) keys in files as BIND writes them. Keys as values stand in `protocol.keys`.
"""
