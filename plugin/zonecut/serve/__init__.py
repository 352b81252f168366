"""The daemon: what runs in one process, started, supervised, loaded anew and stopped.

`daemon` puts together what `zones` (parents) and `children` (agents) make of a configuration; `listening` has the
sockets. What a message means is the business of `receiver` and `agent`.
"""
