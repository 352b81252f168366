"""`zonecut child keygen` and `child publish` on zone files; nothing is looked up that is not on this machine."""

from pathlib import Path

import pytest

from cli_support import Ended
from zonecut.agent.context import published_keys
from zonecut.agent.keys.child_keys import ChildKeys
from zonecut.agent.state import AgentState, Phase, Roll, Stage
from zonecut.cli import main
from zonecut.files import keyfiles
from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT
from zonecut.protocol.keys import UnusableKey

ZONE = "child.parent.example."
SIGNAL = "_sig0key.child.parent.example._signal.ns.operator.example."
FOREIGN = "512 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="
ZONE_FILE = """\
$ORIGIN {zone}
$TTL 300
@ IN SOA ns1 hostmaster 1 3600 600 86400 300
@ IN NS ns1
{further}
ns1 IN A 9.9.9.9
$INCLUDE {directory}/{zone}delegations {zone}
"""
CONFIGURATION = """\
version: 1
store: {{url: "sqlite:///{directory}/zonecut.db"}}
resolver: {{nameservers: ["127.0.0.1:9"]}}
children:
  - zone: {zone}
    key: {{ttl: 600}}
{sides}
"""
BACKEND = "{{adapter: zonefile, zone_file: {directory}/{zone}zone, directory: {directory}}}"


class Household:
    """A child zone and its name server's zone, each in a file that we may change."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.keys = ChildKeys(directory / "keys", names.from_text(ZONE), DEFAULT)
        self._capture = capture
        self.write(ZONE, f"@ IN NS ns.operator.example.\n@ IN KEY {FOREIGN}")
        self.write("operator.example.")
        self.configure(backend=True, signalling=True)

    def write(self, zone: str, further: str = "") -> None:
        file = self.directory / f"{zone}zone"
        file.write_text(ZONE_FILE.format(zone=zone, further=further, directory=self.directory))

    def configure(self, *, backend: bool, signalling: bool) -> None:
        def side(zone: str) -> str:
            return BACKEND.format(directory=self.directory, zone=zone)

        lines = [f"    backend: {side(ZONE)}" if backend else '    primary: {server: "127.0.0.1:9"}']
        if signalling:
            entry = f"{{zone: operator.example., backend: {side('operator.example.')}}}"
            lines.append(f"    signalling: [{entry}]")
        text = CONFIGURATION.format(directory=self.directory, zone=ZONE, sides="\n".join(lines))
        (self.directory / "zonecut.yaml").write_text(text)

    def zonecut(self, *arguments: object) -> Ended:
        self._capture.readouterr()
        code = main([*map(str, arguments), "--config", str(self.directory / "zonecut.yaml")])
        return Ended(code, *self._capture.readouterr())

    def held(self) -> str:
        """All that the zone files hold."""
        return "".join(path.read_text() for path in sorted(self.directory.glob("*example.*")))


@pytest.fixture
def household(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Household:
    return Household(tmp_path, capsys)


def test_keygen_shows_the_file_the_key_and_what_to_do_next(household: Household) -> None:
    done = household.zonecut("child", "keygen", ZONE)
    assert done.code == 0
    (own,) = household.keys.all()
    assert str(own.file) in done.out
    assert own.fingerprint in done.out
    assert f"key id       {own.key.tag}" in done.out
    assert own.key.to_text(600) in done.out
    assert f"Next: zonecut child publish {ZONE}" in done.out
    assert keyfiles.read_pair(own.file, DEFAULT) == own.pair


def test_keygen_makes_no_second_key_unless_it_is_told_to(household: Household) -> None:
    household.zonecut("child", "keygen", ZONE)
    (first,) = household.keys.all()
    again = household.zonecut("child", "keygen", ZONE)
    assert again.code == 0
    assert household.keys.all() == (first,)
    assert first.fingerprint in again.out
    assert "There is a key already; --new makes another." in again.out
    another = household.zonecut("child", "keygen", ZONE, "--new")
    assert another.code == 0
    (second,) = set(household.keys.all()) - {first}
    assert second.fingerprint in another.out
    assert first.fingerprint not in another.out
    assert "zonecut child roll" in another.out
    listed = household.zonecut("child", "keygen", ZONE, "--json").document
    assert {(key["fingerprint"], key["made"]) for key in listed} == {
        (own.fingerprint, False) for own in household.keys.all()
    }


def test_keygen_can_be_asked_what_it_would_do(household: Household) -> None:
    planned = household.zonecut("child", "keygen", ZONE, "--dry-run")
    assert (planned.code, planned.err) == (3, "")
    assert planned.out.startswith(f"{ZONE}: would make a key, ED25519, in ")
    assert household.zonecut("child", "keygen", ZONE, "--dry-run", "--json").document == []
    (made,) = household.zonecut("child", "keygen", ZONE, "--json").document
    there = household.zonecut("child", "keygen", ZONE, "--dry-run")
    assert (there.code, there.out) == (0, f"{ZONE}: there is a key already: {made['file']}\n")
    another = household.zonecut("child", "keygen", ZONE, "--new", "--dry-run", "--json")
    assert (another.code, another.document) == (3, [{**made, "made": False}])


def test_keygen_where_we_cannot_publish_says_which_record_to_add(household: Household) -> None:
    household.configure(backend=False, signalling=False)
    done = household.zonecut("child", "keygen", ZONE)
    assert f"Next: add this record to {ZONE} by hand" in done.out


def test_keygen_is_for_configured_children(household: Household) -> None:
    done = household.zonecut("child", "keygen", "other.parent.example.")
    assert done.code == 2
    assert "other.parent.example. is no configured child zone (those are: child.parent.example.)" in done.err
    assert not (household.directory / "keys").exists()


def test_publish_shows_what_would_change_and_changes_nothing(household: Household) -> None:
    household.zonecut("child", "keygen", ZONE)
    (own,) = household.keys.all()
    planned = household.zonecut("child", "publish", ZONE, "--dry-run")
    assert planned.code == 3
    assert own.key.to_text().split(" KEY ")[1] not in household.held()
    assert not (household.directory / "zonecut.db").exists()
    assert f"+ {own.key.to_text(600)}\n" in planned.out
    assert f"+ {SIGNAL} 600 IN KEY" in planned.out


def test_publish_writes_beside_what_others_have_and_once(household: Household) -> None:
    household.zonecut("child", "keygen", ZONE)
    (own,) = household.keys.all()
    public = own.key.to_text().split(" KEY ")[1]
    assert household.zonecut("child", "publish", ZONE).code == 0
    held = household.held()
    assert held.count(public) == 2
    assert held.count(FOREIGN) >= 2
    again = household.zonecut("child", "publish", ZONE)
    assert (again.code, again.out) == (0, f"; {ZONE}: nothing to change\n")
    assert household.zonecut("child", "publish", ZONE, "--dry-run").code == 0
    events = household.zonecut("audit", "--child", ZONE).out
    assert "agent.key-published" in events


def test_publish_takes_out_what_was_retired(household: Household) -> None:
    household.zonecut("child", "keygen", ZONE)
    household.zonecut("child", "publish", ZONE)
    (old,) = household.keys.all()
    household.keys.retire(old)
    household.zonecut("child", "keygen", ZONE)
    (new,) = household.keys.all()
    assert household.zonecut("child", "publish", ZONE).code == 0
    held = household.held()
    assert old.key.to_text().split(" KEY ")[1] not in held
    assert held.count(new.key.to_text().split(" KEY ")[1]) == 2


def test_publish_names_the_record_that_a_foreign_name_server_has_to_add(household: Household) -> None:
    household.configure(backend=True, signalling=False)
    household.zonecut("child", "keygen", ZONE)
    done = household.zonecut("child", "publish", ZONE)
    assert done.code == 0
    assert f"; {SIGNAL}: for at-ns, the operator of ns.operator.example. publishes this" in done.out
    (own,) = household.keys.all()
    assert f"+ {SIGNAL} 600 IN KEY {own.key.to_text().split(' KEY ')[1]}" in done.out
    assert f"; {SIGNAL}: KEY with key tag" in done.out


def test_publish_needs_a_key(household: Household) -> None:
    done = household.zonecut("child", "publish", ZONE)
    assert done.code == 1
    assert done.err == f"{ZONE} has no key yet: zonecut child keygen {ZONE}\n"


def test_a_zone_that_cannot_be_read_is_one_line(household: Household) -> None:
    household.zonecut("child", "keygen", ZONE)
    household.configure(backend=False, signalling=False)
    done = household.zonecut("child", "publish", ZONE)
    assert done.code == 1
    assert "127.0.0.1:9 about child.parent.example. SOA: Connection refused" in done.err
    assert "Traceback" not in done.err


def test_the_keys_in_use_are_the_one_that_signs_and_that_of_a_roll(household: Household) -> None:
    first, second, third = sorted((household.keys.make("ED25519") for _ in range(3)), key=lambda own: own.file)
    keys = [first, second, third]

    def published(key: str | None, roll: Roll | None = None) -> tuple[object, ...]:
        return published_keys(AgentState(Phase.IN_SYNC, 0.0, key=key, roll=roll), keys)

    assert published_keys(None, keys) == (third,)
    assert published(None) == (third,)
    assert published(first.fingerprint) == (first,)
    assert published(first.fingerprint, Roll(Stage.PUBLISH, 0.0)) == (first,)
    assert published(first.fingerprint, Roll(Stage.ADD, 0.0, second.fingerprint)) == (first, second)
    assert published(second.fingerprint, Roll(Stage.DELETE, 0.0, first.fingerprint)) == (first, second)
    assert published(second.fingerprint, Roll(Stage.UNPUBLISH, 0.0, first.fingerprint)) == (second,)
    for state in (
        AgentState(Phase.IN_SYNC, 0.0, key="gone"),
        AgentState(Phase.IN_SYNC, 0.0, key=first.fingerprint, roll=Roll(Stage.ADD, 0.0, "gone")),
    ):
        with pytest.raises(UnusableKey, match="the files of key gone are not there"):
            published_keys(state, keys)
    assert published_keys(None, []) == ()


# check-config --strict


def strictly(household: Household, entry: str) -> list[str]:
    """The problems with a configuration of which this is the child's entry."""
    text = CONFIGURATION.format(directory=household.directory, zone=ZONE, sides=entry)
    (household.directory / "zonecut.yaml").write_text(text)
    ended = household.zonecut("check-config", "--strict", "--json")
    problems: list[str] = ended.document["problems"]
    assert ended.code == (1 if problems else 0)
    assert all(problem.startswith(f"children[0]: {ZONE}: ") for problem in problems)
    return [problem.removeprefix(f"children[0]: {ZONE}: ") for problem in problems]


def test_strict_opens_the_servers_on_which_a_childs_key_is_to_be_published(household: Household) -> None:
    backend = f"    backend: {BACKEND.format(directory=household.directory, zone=ZONE)}"
    assert strictly(household, backend) == []
    zone_file = household.directory / f"{ZONE}zone"
    zone_file.write_text("".join(line for line in zone_file.read_text().splitlines(True) if "$INCLUDE" not in line))
    (alone,) = strictly(household, backend)
    assert "$INCLUDE" in alone
    primary, included = strictly(household, f'{backend}\n    primary: {{server: "127.0.0.1:9"}}')
    assert "127.0.0.1:9" in primary
    assert included == alone
    zone_file.unlink()
    (gone,) = strictly(household, backend)
    assert "No such file" in gone


def test_strict_tells_of_each_server_of_a_child(household: Household) -> None:
    key = household.directory / "tsig.key"
    key.touch(mode=0o600)
    key.write_text('key "zonecut" { algorithm hmac-sha256; secret "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"; };\n')
    away = f'{{adapter: bind, server: "127.0.0.1:9092", tsig: {key}}}'
    problems = strictly(
        household,
        f'    primary: {{server: "127.0.0.1:9091"}}\n    backend: {away}\n'
        f"    signalling: [{{zone: operator.example., backend: {away.replace('9092', '9093')}}}]",
    )
    assert [[port for port in ("9091", "9092", "9093") if f"127.0.0.1:{port}" in problem] for problem in problems] == [
        ["9091"],
        ["9092"],
        ["9093"],
    ]


def test_strict_reads_the_keys_of_a_child(household: Household) -> None:
    household.zonecut("child", "keygen", ZONE)
    (own,) = household.keys.all()
    own.file.with_suffix(".private").unlink()
    (problem,) = strictly(household, f"    backend: {BACKEND.format(directory=household.directory, zone=ZONE)}")
    assert problem.startswith("its key: ")
    assert str(own.file) in problem
