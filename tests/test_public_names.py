"""What others build on has a name that stays: commands and options, configuration keys, log events, metrics.

`public_names.txt` has them all. A name that is new is added there; one that goes breaks a script, a playbook or an
alert of somebody's, and belongs into CHANGELOG.md.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

import zonecut
from zonecut.cli import app
from zonecut.config import schema
from zonecut.plugin.registry import create_manager

SOURCES = Path(zonecut.__file__).parent
FAMILIES = (
    "agent|audit|backend|bootstrap|change|check|checks|delegation|glue|hook|http|identity|key|log|notify|on-demand|parent"
    "|publication|published|reload|request|resolver|serve|store|sweep|task|trust|waiting|writer|zone"
)
"""What the first word of an event may be."""
KNOWN = Path(__file__).parent / "public_names.txt"


def commands(command: Any, words: str = "zonecut") -> Iterator[str]:
    for parameter in command.params:
        yield from (f"{words} {each}" for each in (*parameter.opts, *parameter.secondary_opts) if each[0] == "-")
    for name, found in getattr(command, "commands", {}).items():
        yield f"{words} {name}"
        yield from commands(found, f"{words} {name}")


def configuration(node: Any, definitions: dict[str, Any], at: str = "", seen: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(node, list):
        for each in node:
            yield from configuration(each, definitions, at, seen)
    if not isinstance(node, dict):
        return
    if reference := node.get("$ref"):
        name = reference.rpartition("/")[2]
        if name not in seen:
            yield from configuration(definitions[name], definitions, at, (*seen, name))
    for key, value in node.get("properties", {}).items():
        yield f"configuration {at}{key}"
        yield from configuration(value, definitions, f"{at}{key}.", seen)
    for word in ("items", "additionalProperties", "anyOf", "oneOf", "allOf", "prefixItems"):
        yield from configuration(node.get(word), definitions, at, seen)


def events_and_metrics() -> Iterator[str]:
    """Of the log and the audit trail, wherever they are spelled in the program."""
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            if re.fullmatch(r"zonecut_[a-z_]+", node.value):
                yield f"metric {node.value}"
            elif re.fullmatch(rf"({FAMILIES})(\.[a-z-]+){{1,2}}", node.value):
                yield f"event {node.value}"


def test_names_that_others_use_are_those_that_were_published() -> None:
    described = schema(create_manager())
    names = {*commands(get_command(app)), *configuration(described, described["$defs"]), *events_and_metrics()}
    assert len(names) > 500
    known = set(KNOWN.read_text().splitlines())
    assert known - names == set(), "gone, or called otherwise: say so in CHANGELOG.md"
    assert names - known == set(), "new: to be added to public_names.txt"
