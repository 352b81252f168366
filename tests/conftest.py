"""In CI nothing may be skipped; the rule is the same as for the tests against real servers."""

import structlog

from lab.skips import pytest_sessionfinish, pytest_terminal_summary

__all__ = ["pytest_sessionfinish", "pytest_terminal_summary"]

# rich draws a traceback in tenths of a second, in which no loop of a test goes on
_plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _plain])
