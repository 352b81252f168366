"""`zonecut delegation`: what the parent's server holds, beside what the ledger says."""
