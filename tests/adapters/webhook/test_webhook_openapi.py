"""The description for those who implement the other side: its examples and what zonecut sends fit the schemas."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from jsonschema import Draft202012Validator

from strategies import delegations
from zonecut.plugin import Change, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation, Ttls
from zonecut.protocol.rrset import RRset
from zonecut_webhook import documents

ADAPTER = Path(__file__).parents[3] / "adapters" / "zonecut_webhook"
OPENAPI: dict[str, Any] = yaml.safe_load((ADAPTER / "openapi.yaml").read_text())
SCHEMAS = OPENAPI["components"]["schemas"]
ZONE = names.from_text("parent.example.")
EXAMPLES = [
    json.loads(text) for text in re.findall(r"```json\n(.*?)```", (ADAPTER / "README.md").read_text(), re.DOTALL)
]
EXAMPLE_SCHEMAS = (
    "Delegation",
    "Zone",
    "Lookup",
    "Delegations",
    "Page",
    "Changes",
    "Explanation",
    "Withdrawal",
    "RRsetLookup",
    "RRsets",
    "Replacement",
)


def check(document: Any, schema: str) -> None:
    """Raise ValidationError for a document that does not fit."""
    root = {"$ref": f"#/components/schemas/{schema}", "components": OPENAPI["components"]}
    Draft202012Validator(root).validate(document)


def test_every_example_of_the_readme_is_described() -> None:
    assert len(EXAMPLES) == len(EXAMPLE_SCHEMAS)
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(("example", "schema"), [*zip(EXAMPLES, EXAMPLE_SCHEMAS, strict=True)], ids=EXAMPLE_SCHEMAS)
def test_an_example_of_the_readme_fits_its_schema(example: Any, schema: str) -> None:
    check(example, schema)


def test_the_examples_are_understood() -> None:
    by_schema = dict(zip(EXAMPLE_SCHEMAS, EXAMPLES, strict=True))
    for schema in ("Delegations", "Page"):
        assert all(documents.reading_of(each) for each in by_schema[schema]["delegations"])
    reading = documents.reading_of(by_schema["Delegation"])
    assert len(reading.delegation.records) == 5
    assert len(reading.delegation.ds[0]) == 36
    (change,) = by_schema["Changes"]["changes"]
    assert documents.delegation_of(names.from_text(change["child"]), change["after"]).is_delegated
    assert all(documents.rrset_of(each) for each in by_schema["RRsets"]["rrsets"])


@given(delegations, delegations)
def test_what_zonecut_sends_fits(before: Delegation, after: Delegation) -> None:
    change = Change(before, after, b"identity")
    check(documents.changes_json(ZONE, [change], [documents.change_id(ZONE, change)], Ttls()), "Changes")
    check(documents.withdrawal_json(ZONE, change, documents.change_id(ZONE, change)), "Withdrawal")
    check(Reading(after, ZONE, (after.child,), dict.fromkeys(after.rrsets, 60)).to_json(), "Delegation")


def test_what_zonecut_publishes_fits() -> None:
    document = documents.rrset_json(RRset(ZONE, RRType.DSYNC, 60, (bytes.fromhex("00ff0214ea00"),)))
    check(document, "RRset")
    check({"zone": "parent.example.", "before": [document], "after": []}, "Replacement")
