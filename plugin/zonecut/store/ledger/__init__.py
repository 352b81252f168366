"""The tables of changes: accepted, held, decided, applied."""
