"""`zonecut check-config` and `zonecut schema`, and the log that `serve` sets up."""

import io
import json
from pathlib import Path

import pytest
import structlog
import yaml

from cli_support import House
from zonecut.cli.terminal import logs


@pytest.fixture
def house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> House:
    return House(tmp_path, capsys)


def test_a_right_configuration_is_called_right(house: House) -> None:
    ended = house.zonecut("check-config")
    assert (ended.code, ended.out, ended.err) == (0, f"{house.config}: right\n", "")
    assert house.zonecut("check-config", "--json").document == {"file": str(house.config), "problems": []}


def test_every_problem_is_a_line_with_the_file_and_the_key(house: House) -> None:
    house.config.write_text("version: 1\nstoer: {}\nreceiver: {workers: 2}\n")
    ended = house.zonecut("check-config")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines() == [
        f"{house.config}: receiver.workers: 1 is the only number of workers that this version knows",
        f"{house.config}: stoer: unknown key; did you mean `store`?",
    ]
    ended = house.zonecut("check-config", "--json")
    assert (ended.code, ended.err) == (2, "")
    assert len(ended.document["problems"]) == 2


def test_strict_opens_the_store_and_the_server(house: House) -> None:
    assert house.zonecut("check-config", "--strict").code == 0
    house.zone_file.unlink()
    house.config.write_text(house.config.read_text().replace("zonecut.db", "missing/zonecut.db"))
    assert house.zonecut("check-config").code == 0
    ended = house.zonecut("check-config", "--strict", "--json")
    assert (ended.code, ended.err) == (1, "")
    store, backend = ended.document["problems"]
    assert store.startswith("store.url: ")
    assert "create it first" in store
    assert backend.startswith("parents[0].backend: sig0.test.: ")
    assert "No such file" in backend


def test_strict_sees_what_a_daemon_would_not_start_with(house: House) -> None:
    text = house.config.read_text()
    anchors = house.directory / "missing.key"
    document = yaml.safe_load(text)
    document.setdefault("receiver", {})["listen"] = ["192.0.2.1:5354", "127.0.0.1:5354"]
    document.setdefault("resolver", {})["trust_anchors"] = str(anchors)
    document["parents"][0]["bootstrap"] = ["at-apex"]
    document["children"] = [{"zone": "child.sig0.test.", "primary": {"server": "127.0.0.1:1"}}]
    house.config.write_text(yaml.safe_dump(document))
    assert house.zonecut("check-config").code == 0
    ended = house.zonecut("check-config", "--strict", "--json")
    listen, resolver, child = ended.document["problems"]
    assert ended.code == 1
    assert listen == "receiver.listen: 192.0.2.1:5354: 192.0.2.1 is no address of this machine"
    assert resolver.startswith("resolver: ")
    assert str(anchors) in resolver
    assert child.startswith("children[0]: child.sig0.test.: ")
    assert "127.0.0.1:1" in child


def test_a_zone_is_read_without_tsig_on_loopback_only_unless_somebody_says_so(house: House) -> None:
    document = yaml.safe_load(house.config.read_text())
    for primary, told in (
        ({"server": "192.0.2.1:53"}, "without `tsig` anybody on the way there can write what the agent signs"),
        ({"server": "[2001:db8::1]:53", "transfer": True}, "`without_tsig: true` goes without"),
        ({"server": "192.0.2.1:53", "without_tsig": True}, None),
        ({"server": "127.53.0.1:53"}, None),
        ({"server": "[::1]:53"}, None),
    ):
        document["children"] = [{"zone": "child.sig0.test.", "primary": primary}]
        house.config.write_text(yaml.safe_dump(document))
        ended = house.zonecut("check-config", "--json")
        if told is None:
            assert (ended.code, ended.document["problems"]) == (0, [])
            continue
        (problem,) = ended.document["problems"]
        assert ended.code == 2
        assert problem.startswith("children[0].primary")
        assert told in problem


def test_the_schema_is_one_json_document_with_the_options_of_the_adapters(house: House) -> None:
    ended = house.bare("schema")
    assert ended.code == 0
    adapters = ended.document["$defs"]["ParentSection"]["properties"]["backend"]["oneOf"]
    assert {"bind", "zonefile"} <= {adapter["properties"]["adapter"]["const"] for adapter in adapters}
    assert house.bare("schema", "--json").document == ended.document


@pytest.fixture
def fresh_structlog() -> object:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("fresh_structlog")
def test_a_log_line_is_one_json_object_with_time_and_level() -> None:
    stream = io.StringIO()
    logs.configure(logs.LogFormat.AUTO, stream)
    log = structlog.get_logger()
    log.info("change.accepted", child="child.example.", key=4711, zone=b"\0")
    log.debug("not.shown")
    try:
        raise ValueError("odd")
    except ValueError:
        log.exception("request.defect")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "change.accepted",
        "level": "info",
        "child": "child.example.",
        "key": 4711,
        "zone": "b'\\x00'",
    }
    assert "ValueError: odd" in second["exception"]


@pytest.mark.usefixtures("fresh_structlog")
def test_the_console_log_is_for_people() -> None:
    stream = io.StringIO()
    logs.configure(logs.LogFormat.CONSOLE, stream)
    structlog.get_logger().warning("change.refused", rule="ns-count")
    line = stream.getvalue()
    assert "change.refused" in line
    assert "rule=ns-count" in line
    assert not line.startswith("{")
