"""In CI nothing may be skipped; the rule is the same as for the tests against real servers."""

from lab.skips import pytest_sessionfinish, pytest_terminal_summary

__all__ = ["pytest_sessionfinish", "pytest_terminal_summary"]
