"""Delegation management over DNS UPDATE, beside the authoritative server that somebody has.

A message of a child goes through `serve` (sockets), `receiver` (verify, judge, record, write), `plugin` (the
interface of adapters, which are packages of their own) and `store` (keys, ledger, audit trail). `agent` is the
child's side; `powerdns_api` takes changes from front ends; `resolve` validates what DNS says; `manage` shows
numbers; `cli` and `demo` are what people type. Below all of them stand `net` (connections), `files` (keys and
secrets on disk) and `protocol` (octets and values, pure). Who may import whom stands in pyproject.toml and is
checked; each room says what belongs there.
"""
