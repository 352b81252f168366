"""The options of the adapter `webhook`."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from zonecut.plugin.registry import adapters, create_manager
from zonecut_webhook.options import WebhookOptions

URL = "https://registry.example/zonecut/parent.example"


def test_the_adapter_registers_under_its_name() -> None:
    assert adapters(create_manager())["webhook"].options is WebhookOptions


def test_the_defaults_are_the_documented_ones() -> None:
    assert WebhookOptions(url=URL).model_dump() == {
        "url": URL,
        "key": Path("/etc/zonecut/webhook.key"),
        "key_id": "zonecut",
        "ca": None,
        "allow_plain_http": False,
        "timeout": 10.0,
        "write_timeout": 30.0,
        "batch": 50,
        "batch_octets": 1_000_000,
        "page": 500,
    }


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://[::1]:8000/zone/", "http://localhost/zone"])
def test_plain_http_stays_on_this_machine(url: str) -> None:
    assert WebhookOptions(url=url).url == url.rstrip("/")


@pytest.mark.parametrize("url", ["http://registry.example", "http://192.0.2.1", "http://127.0.0.1.example"])
def test_plain_http_beyond_this_machine_has_to_be_allowed(url: str) -> None:
    with pytest.raises(ValidationError, match="allow_plain_http"):
        WebhookOptions(url=url)
    assert WebhookOptions(url=url, allow_plain_http=True).url == url


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "registry.example"},
        {"url": "ftp://registry.example"},
        {"url": f"{URL}?zone=x"},
        {"url": "https://name:secret@registry.example"},
        {"url": URL, "key_id": 'a"b'},
        {"url": URL, "key_id": ""},
        {"url": URL, "timeout": 0},
        {"url": URL, "batch": 0},
        {"url": URL, "secret": "x"},
    ],
)
def test_anything_else_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WebhookOptions.model_validate(options)
