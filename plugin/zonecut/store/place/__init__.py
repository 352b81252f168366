"""The file behind a store: who has it open, whether it is the one that was left, and what a restore is told by."""
