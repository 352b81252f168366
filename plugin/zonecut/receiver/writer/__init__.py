"""What writes a parent zone: all that waits in one transaction, read back, and each change brought to its end.

One writer a zone. What is written was judged in `change` before, and is judged there again where the server holds
something else.
"""
