"""The configuration file: what it takes, and how it says what is wrong with it."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from zonecut import config
from zonecut.config import Loaded
from zonecut.configfile import ConfigurationError
from zonecut.configmodel import HookSection
from zonecut.net.endpoint import Endpoint
from zonecut.plugin.registry import create_manager
from zonecut.protocol import names

MANAGER = create_manager()
RIGHT = """\
version: 1
store: {url: "sqlite:////tmp/zonecut.db"}
receiver: {listen: ["127.0.0.1:5354", "[::1]:5354"]}
parents:
  - zone: parent.example.
    backend: {adapter: zonefile, zone_file: /tmp/parent.zone, directory: /tmp}
    policy: {min_ns: 2, ttl: {ns: 300}}
"""


def load(tmp_path: Path, text: str) -> Loaded:
    path = tmp_path / "zonecut.yaml"
    path.write_text(text)
    return config.load(path, MANAGER)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as wrong:
        load(tmp_path, text)
    assert all(line.startswith(str(tmp_path / "zonecut.yaml")) for line in str(wrong.value).splitlines())
    return wrong.value.problems


def test_a_right_configuration_is_loaded_with_its_defaults(tmp_path: Path) -> None:
    loaded = load(tmp_path, RIGHT)
    (parent,) = loaded.configuration.parents
    assert parent.apex == names.from_text("parent.example.")
    assert parent.rules().target == names.from_text("updater.parent.example.")
    assert (parent.policy.ttl.ns, parent.policy.ttl.ds) == (300, 3600)
    assert loaded.configuration.receiver.limits.source_rate == 50
    assert loaded.configuration.receiver.endpoints == (Endpoint("127.0.0.1", 5354), Endpoint("::1", 5354))
    adapter, options = loaded.backends[parent.apex]
    assert adapter.name == "zonefile"
    assert isinstance(options, adapter.options)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("version: 1\n", "", "version: is required"),
        ("version: 1", "version: 2", "version: input should be 1, not 2"),
        ("receiver:", "reciever:", "reciever: unknown key; did you mean `receiver`?"),
        ("min_ns: 2", "min_ns: 0", "parents[0].policy.min_ns: input should be greater than 0, not 0"),
        ("min_ns: 2", "minns: 2", "parents[0].policy.minns: unknown key; did you mean `min_ns`?"),
        ("ns: 300}", "zz: 300}", "parents[0].policy.ttl.zz: unknown key; known here: ns, ds, glue"),
        ("127.0.0.1:5354", "127.0.0.1", "receiver.listen: '127.0.0.1': an address with a port, as 192.0.2.1:53"),
        ("127.0.0.1:5354", "0.0.0.0:53", "receiver.listen: '0.0.0.0:53': name each address"),
        ("127.0.0.1:5354", "ns.example:53", "receiver.listen: 'ns.example:53': an address with a port"),
        ("[::1]:5354", "::1:5354", "receiver.listen: '::1:5354': an address with a port"),
        ("receiver: {", "receiver: {workers: 2, ", "receiver.workers: 1 is the only number of workers"),
        ("zone: parent.example.", "zone: parent..example.", "parents[0].zone: 'parent..example.': has an empty label"),
        ("zone: parent.example.", "zone: .", "parents[0].zone: the root is no parent zone here"),
        (
            "zone: parent.example.",
            "zone: bücher.example.",
            "parents[0].zone: 'bücher.example.': a name is written with",
        ),
        ("adapter: zonefile", "adapter: nsd", "parents[0].backend.adapter: there is no adapter 'nsd'; installed: bind"),
        ("adapter: zonefile, ", "", "parents[0].backend: `adapter` names the adapter"),
        ("directory: /tmp", "directry: /tmp", "parents[0].backend.directry: unknown key; did you mean `directory`?"),
        ("directory: /tmp", "directory: tmp", "parents[0].backend.directory: "),
        ("parents:", "keys: {directory: keys}\nparents:", "keys.directory: keys: give the absolute path; this one is"),
        (
            "receiver: {",
            "resolver: {trust_anchors: root.key}\nreceiver: {",
            "resolver.trust_anchors: root.key: give the",
        ),
        ("zone_file: /tmp/parent.zone, ", "", "parents[0].backend.zone_file: is required"),
        (
            "policy: {",
            "bootstrap: [magic]\n    policy: {",
            "parents[0].bootstrap[0]: there is no bootstrap method 'magic'",
        ),
        (
            "policy: {",
            "bootstrap: [{method: at-ns, mode: all}]\n    policy: {",
            "parents[0].bootstrap[0].mode: input should",
        ),
        (
            "policy: {",
            "bootstrap: [{mode: any}]\n    policy: {",
            "parents[0].bootstrap[0]: there is no bootstrap method None",
        ),
        ("policy: {", "policy: {reserved: ['a..b'], ", "parents[0]: 'a..b': has an empty label"),
    ],
)
def test_what_is_wrong_is_named_with_its_key_and_what_would_be_right(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    assert old in RIGHT
    found = problems(tmp_path, RIGHT.replace(old, new, 1))
    assert any(each.startswith(problem) for each in found), found


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    text = RIGHT.replace("min_ns: 2", "min_ns: x").replace("version: 1", "version: 3").replace("listen:", "listn:")
    assert len(problems(tmp_path, text)) == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "a mapping that begins with `version: 1` belongs here"),
        ("- a\n", "a mapping that begins with `version: 1` belongs here"),
        ("a: [", "no YAML"),
        ("version: 1\nversion: 1\n", "no YAML: key 'version' is there twice"),
        (RIGHT + RIGHT[RIGHT.index("  - zone") :], "parents: parent.example. is there twice"),
    ],
)
def test_a_file_that_is_no_configuration_is_told_so(tmp_path: Path, text: str, problem: str) -> None:
    assert any(each.startswith(problem) for each in problems(tmp_path, text))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.yaml: No such file"):
        config.load(tmp_path / "nothing.yaml", MANAGER)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        config.load(tmp_path / "binary.yaml", MANAGER)


def test_the_schema_knows_every_adapter_and_its_options() -> None:
    document = config.schema(MANAGER)
    choices = document["$defs"]["ParentSection"]["properties"]["backend"]["oneOf"]
    assert {choice["properties"]["adapter"]["const"] for choice in choices} >= {"bind", "zonefile"}
    assert all("adapter" in choice["required"] for choice in choices)
    assert document["properties"]["version"]["const"] == 1


HOOK = {"api_keys": {"portal": "/etc/zonecut/portal.key"}}


def test_a_hook_is_reached_under_the_names_of_its_addresses_and_those_it_is_given() -> None:
    section = HookSection.model_validate(
        {**HOOK, "listen": ["127.0.0.1:8082", "[::1]:8083"], "hosts": ["Pdns.example"]}
    )
    assert section.host_names == {
        *("127.0.0.1", "127.0.0.1:8082", "localhost", "localhost:8082", "pdns.example", "pdns.example:8082"),
        *("[::1]", "[::1]:8083", "localhost:8083", "pdns.example:8083"),
    }


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"api_keys": {}}, "at least one API key"),
        ({"api_keys": {"a b": "/x"}}, "'a b': the name of a key has letters"),
        ({"listen": []}, "at least one address"),
        ({"listen": ["localhost:8082"]}, "an address with a port"),
        ({"listen": ["0.0.0.0:8082"]}, "name each address"),
        ({"listen": ["192.0.2.1:8082"]}, "192.0.2.1:8082 needs `certificate` and `private_key`"),
        ({"certificate": "/x"}, "`certificate` and `private_key` go together"),
        ({"api_key": "/x"}, "api_key"),
    ],
)
def test_a_hook_that_would_not_be_safe_is_refused(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        HookSection.model_validate({**HOOK, **options})


@pytest.mark.parametrize(
    "example", sorted((Path(__file__).parents[1] / "deploy").glob("*.yaml")), ids=lambda at: at.stem
)
def test_the_examples_of_configurations_are_right(example: Path) -> None:
    (section,) = config.load(example, MANAGER).configuration.parents
    assert names.to_text(section.apex) == "parent.example."
