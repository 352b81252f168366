"""Key rolls as people do them, from beginning to end: strict resolvers that are asked all the time always answer."""

from pathlib import Path

import pytest

from rolls_cases import CASES, Case
from rolls_world import LAG


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_nobody_notices_that(case: Case, tmp_path: Path) -> None:
    case(tmp_path, LAG)
