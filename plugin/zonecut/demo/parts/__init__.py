"""The tour's chapters, in the order in which they are told."""
