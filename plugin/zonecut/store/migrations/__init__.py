"""How the tables came about, one revision a file in `versions`; alembic reads them by path."""
