"""The adapter `manual`: a parent zone that people change, by hand or by means of their own.

Nothing is written. What is to be done is told as input of nsupdate, and the zone, which is read by transfer, shows when
it has been done.
"""
