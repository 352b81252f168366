"""Paths in a configuration: absolute, so that the daemon and every command mean the same file."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError(f"{path}: give the absolute path; this one is another file wherever zonecut is started from")
    return path


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
