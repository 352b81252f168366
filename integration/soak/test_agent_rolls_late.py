"""The rolls of `test_agent_rolls`, with a secondary that hears of each change ten seconds late."""

from pathlib import Path

import pytest

from rolls_cases import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_nobody_notices_that(case: Case, tmp_path: Path) -> None:
    case(tmp_path, 10)
