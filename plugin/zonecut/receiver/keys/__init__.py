"""The life of a child's key (PROTOCOL sections 4 and 5): how it comes to be trusted, is replaced, watched, and ends.

`methods` are the ways in which a key is bootstrapped. What a signature is worth to one message is `message`.
"""
