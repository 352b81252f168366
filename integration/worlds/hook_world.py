"""A hook, and who posts to it."""

import secrets
from pathlib import Path
from typing import Any

from lab.ports import LOOPBACK, free_port
from poster import Poster


def hook(directory: Path, **options: Any) -> dict[str, Any]:
    """A hook for the configuration, with the keys `portal` and `other` in files."""
    keys = {}
    for name in ("portal", "other"):
        file = directory / f"{name}.key"
        file.touch(mode=0o600)
        file.write_text(f"{secrets.token_urlsafe(24)}\n")
        keys[name] = str(file)
    return {"listen": [f"{LOOPBACK}:{free_port()}"], "api_keys": keys, **options}


def poster(section: dict[str, Any], name: str = "portal", ca: Path | None = None) -> Poster:
    return Poster(int(section["listen"][0].rpartition(":")[2]), Path(section["api_keys"][name]).read_text().strip(), ca)
