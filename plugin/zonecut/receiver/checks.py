"""Look-up based checks of a change (placeholder replaced below)."""
