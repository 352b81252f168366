"""Fuzz a target: `run.py TARGET [option of libFuzzer...] [directory...]`; `make fuzz` runs all of them.

What is learnt goes to the first directory that is named, .work/fuzz/TARGET if none is: never to where seeds are kept.
"""

import importlib
import sys
from pathlib import Path

import atheris

HERE = Path(__file__).parent
WORK = HERE.parent.parent / ".work" / "fuzz"


def arguments(target: str, given: list[str]) -> list[str]:
    """The arguments of libFuzzer: it writes to the first directory, and reads the others."""
    options = [each for each in given if each.startswith("-")]
    places = [each for each in given if not each.startswith("-")] or [str(WORK / target)]
    Path(places[0]).mkdir(parents=True, exist_ok=True)
    kept = (HERE / "seeds" / target, HERE / "regressions" / target, HERE.parent / "vectors")
    return [f"-artifact_prefix={WORK / target}-", *options, *places, *(str(each) for each in kept if each.is_dir())]


if __name__ == "__main__":
    program, name, *rest = sys.argv
    with atheris.instrument_imports():
        module = importlib.import_module(f"fuzz_{name}")
    atheris.Setup([program, *arguments(name, rest)], module.one_input)
    atheris.Fuzz()
