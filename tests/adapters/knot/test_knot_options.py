"""The options of the adapter `knot`."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from zonecut_knot import KnotOptions, zonecut_adapters
from zonecut_knot.options import Client


def test_the_adapter_brings_its_name_and_options() -> None:
    (adapter,) = zonecut_adapters()
    assert (adapter.name, adapter.options) == ("knot", KnotOptions)


def test_the_defaults_are_the_documented_ones() -> None:
    assert KnotOptions().model_dump() == {
        "socket": Path("/run/knot/knot.sock"),
        "timeout": 10.0,
        "client": Client.AUTO,
        "knotc": "knotc",
        "rescan": 300.0,
    }


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ({"socket": "knot.sock"}, "absolute path"),
        ({"socket": "/" + "x" * 107}, "at most 107 octets"),
        ({"timeout": 0.5}, "greater than or equal to 1"),
        ({"client": "telnet"}, "'auto', 'libknot' or 'knotc'"),
        ({"server": "127.0.0.1:53"}, "Extra inputs"),
    ],
)
def test_a_wrong_option_is_refused(option: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        KnotOptions.model_validate(option)
