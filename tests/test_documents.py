"""What the documents point at is there: files, headings, tests and commands."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from zonecut.cli import app

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    path
    for place in (".", "deploy", "adapters", "adapters/*", "integration", "tests/*")
    for path in ROOT.glob(f"{place}/*.md")
)
OPERATORS = [each for each in DOCUMENTS if each.parent in (ROOT, ROOT / "deploy") and each.name != "CHANGELOG.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
COMMAND = re.compile(r"(?:`|^ {4}(?: {2})?|\buser zonecut |bin/)zonecut ([a-z-]+)(?: ([a-z|-]+))?", re.MULTILINE)


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def anchors(document: Path) -> set[str]:
    """The names that GitHub gives to the headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(document: Path) -> None:
    for match in LINK.finditer(document.read_text()):
        link = match[1] or match[2]
        if link.startswith(("https:", "http:")):
            continue
        path, _, heading = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not heading or heading in anchors(target), link


@pytest.mark.parametrize("document", OPERATORS, ids=name_of)
def test_every_command_that_operators_are_told_of_is_there(document: Path) -> None:
    program: Any = get_command(app)
    for name, rest in COMMAND.findall(document.read_text()):
        assert name in program.commands, name
        group: Any = getattr(program.commands[name], "commands", None)
        for command in rest.split("|") if group and rest else ():
            assert command in group, f"{name} {command}"


def test_every_test_that_holds_us_to_proof_is_where_it_is_said_to_be() -> None:
    text = (ROOT / "deploy" / "SECURITY.md").read_text()
    named = re.findall(r"`((?:tests|integration)/[\w/]+\.py)`(?:: ((?:`test_\w+`(?:, )?)+))?", text)
    assert named
    for path, tests in named:
        source = (ROOT / path).read_text()
        for test in re.findall(r"\w+", tests):
            assert f"def {test}(" in source, f"{path}: {test}"


def test_the_picture_is_the_same_in_light_and_in_dark() -> None:
    light, dark = (
        re.sub(r"#[0-9a-f]{6}\b", "#", (ROOT / "deploy" / "pictures" / f"overview-{each}.svg").read_text())
        for each in ("light", "dark")
    )
    assert light == dark
