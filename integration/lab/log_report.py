"""A test that fails shows what its servers logged last. A conftest.py takes part by importing the hook."""

from collections.abc import Generator
from pathlib import Path

import pytest

_LINES = 40


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    directory = getattr(item, "funcargs", {}).get("tmp_path")
    if report.failed and isinstance(directory, Path):
        for file in sorted(directory.rglob("*.log")):
            lines = file.read_text(errors="replace").splitlines()[-_LINES:]
            report.sections.append((f"the end of {file.relative_to(directory)}", "\n".join(lines)))
    return report
