"""How commands speak: text and JSON on the terminal, progress, times, messages as dig shows them, and the log."""
