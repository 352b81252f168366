"""One change of a delegation as a value: judged against what the server holds, recorded, ordered, and told in the log.

`policy` has the rules that need no look-up, `judgement` and `neighbours` apply them, `readings` knows what is there,
`ledger` keeps what was accepted. Writing is the business of `writer`; keys are that of `keys`.
"""
