"""What is kept for the fuzzer breaks no target: seeds, what once broke one, and the messages of a real client."""

import importlib
import re
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent / "fuzz"
VECTORS = Path(__file__).parent / "vectors"
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in FUZZ.glob("fuzz_*.py"))
SEEDS, REGRESSIONS = FUZZ / "seeds", FUZZ / "regressions"
KEPT = sorted({*SEEDS.glob("*/*"), *REGRESSIONS.glob("*/*"), *VECTORS.glob("*.bin")})


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_that_is_kept_breaks_a_target(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FUZZ))
    one_input = importlib.import_module(f"fuzz_{target}").one_input
    for path in KEPT:
        one_input(path.read_bytes())


def test_every_target_has_a_few_small_seeds() -> None:
    assert {path.name for path in SEEDS.iterdir()} == set(TARGETS)
    for target in TARGETS:
        seeds = list((SEEDS / target).iterdir())
        assert 3 <= len(seeds) <= 10
        assert max(path.stat().st_size for path in seeds) <= 512


def test_inputs_are_named_after_what_they_hold_and_captures_stand_by_themselves() -> None:
    for path in KEPT:
        assert re.fullmatch(r"[A-Za-z][\w-]*\.bin", path.name), path
        assert path.parent == VECTORS or path.parent.name in TARGETS, path
    others = [path.name for path in VECTORS.iterdir() if path.suffix not in (".bin", ".key")]
    assert sorted(others) == ["README.md", "keyfiles"]
