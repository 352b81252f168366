"""Messages between a child and an UPDATE Receiver: sent, sent again, answered, and what an answer means.

`update_client` signs and sends; `retransmission`, `datagram` and `stream` carry; `response` reads octets and `result`
says what they mean; `notify_out` and `notify_in` are NOTIFY in both directions. It decides nothing and keeps nothing.
"""
