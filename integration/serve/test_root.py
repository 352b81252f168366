"""Root beside a daemon whose user it does not trust: nothing of root's is made, read or given away through a link.

The store's directory belongs to the daemon's user, as it does in `deploy/`; whoever took the daemon over puts there
what he likes, at any moment.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from lab.ports import free_port
from lab.unprivileged import NOBODY
from lab.zonecut import CHECKS_OFF, COMMAND
from zonecut.files.keyfiles import write_pair
from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, Algorithm
from zonecut.protocol.keys import KeyPair

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has anything to lose")

OTHER = 12346
ROUNDS = 5
ZONE = """\
$TTL 3600
parent.test. SOA ns.parent.test. hostmaster.parent.test. 1 3600 600 86400 300
parent.test. NS ns.parent.test.
ns.parent.test. A 1.1.1.1
child.parent.test. NS ns.example.
$INCLUDE {home}/parent.test.delegations parent.test.
"""
SWAPPER = """
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.chdir(sys.argv[1])
print("swapping", flush=True)
while True:
    for number, name in enumerate(sys.argv[3:]):
        link, file = f"link{number}", f"file{number}"
        os.symlink(sys.argv[2], link)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        os.rename(file, name)
        os.rename(link, name)
"""


class Home:
    """The directory of the daemon's user, and the configuration, which root alone can read."""

    def __init__(self, above: Path) -> None:
        above.chmod(0o755)
        self.above = above
        self.path = above / "home"
        self.path.mkdir()
        zone_file = self.path / "parent.zone"
        zone_file.write_text(ZONE.format(home=self.path))
        for each in (self.path, zone_file):
            os.chown(each, NOBODY, NOBODY)
        backend = {"adapter": "zonefile", "zone_file": str(zone_file), "directory": str(self.path)}
        self.configure(
            {
                "version": 1,
                "store": {"url": f"sqlite:///{self.path}/zonecut.db"},
                "receiver": {"listen": [f"127.0.0.1:{free_port()}"]},
                "parents": [{"zone": "parent.test.", "backend": backend, "checks": CHECKS_OFF}],
            }
        )

    def configure(self, configuration: dict[str, Any]) -> None:
        self.configuration = configuration
        self.config = self.above / "zonecut.yaml"
        self.config.write_text(yaml.safe_dump(configuration))
        self.config.chmod(0o600)

    def root(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """A command of root's."""
        argv = [str(COMMAND), *map(str, arguments), "--config", str(self.config)]
        return subprocess.run(argv, cwd="/", capture_output=True, text=True, timeout=60)

    def done(self, *arguments: object) -> str:
        """What a command of root's prints that does what it was asked for."""
        done = self.root(*arguments)
        assert done.returncode in (0, 3), done.stderr
        return done.stdout


@pytest.fixture
def home() -> Iterator[Home]:
    # not below pytest's directory, which is closed to all but root
    with TemporaryDirectory() as above:
        yield Home(Path(above))


@pytest.fixture
def key(home: Home) -> Path:
    """A key of the child in a directory that root alone can enter."""
    private = home.above / "root"
    private.mkdir(mode=0o700)
    pair = KeyPair.generate(names.from_text("child.parent.test."), Algorithm.ED25519, DEFAULT)
    return write_pair(private, pair, DEFAULT)


@contextmanager
def swapping(directory: Path, target: Path, *entries: str) -> Iterator[None]:
    """While the daemon's user puts, now a file of his own, now a link to `target` in the place of these entries."""
    argv = [sys.executable, "-c", SWAPPER, str(directory), str(target), *entries]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "swapping\n"
        try:
            yield
            assert process.poll() is None
        finally:
            process.kill()


def secret(home: Home) -> Path:
    path = home.above / "shadow"
    path.write_text("root:x\n")
    path.chmod(0o600)
    return path


def is_untouched(path: Path) -> bool:
    status = path.stat()
    return (status.st_uid, status.st_mode & 0o7777, path.read_text()) == (0, 0o600, "root:x\n")


def test_what_root_makes_is_the_daemon_s_who_goes_on_with_it(home: Home, key: Path) -> None:
    home.done("key", "import", key, "--trust")
    home.done("parent", "publish", "parent.test.")
    home.done("parent", "roll", "parent.test.")
    assert {path.lstat().st_uid for path in home.path.rglob("*")} == {NOBODY}
    assert list((home.path / "keys").glob("K*.private"))
    readable = home.above / "daemon.yaml"
    readable.write_text(home.config.read_text())
    os.chown(readable, NOBODY, NOBODY)
    argv = [str(COMMAND), "serve", "--config", str(readable)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, user=NOBODY, group=NOBODY, extra_groups=[]) as serve:
        assert serve.stderr is not None
        try:
            assert any("zone.ready" in line for line in serve.stderr)
            assert "trusted" in home.done("key", "list")
        finally:
            serve.terminate()
        serve.stderr.read()
    assert serve.returncode == 0


def test_a_link_in_the_store_s_place_makes_nothing_elsewhere(home: Home) -> None:
    elsewhere = home.above / "cron.d"
    elsewhere.mkdir()
    for name in ("zonecut.db", "zonecut.db-wal", "keys", ".zonecut-lock", "parent.test.delegations"):
        (home.path / name).symlink_to(elsewhere / "job")
    home.root("key", "list")
    home.root("parent", "publish", "parent.test.")
    assert list(elsewhere.iterdir()) == []
    (home.path / "zonecut.db").unlink()
    home.root("key", "list")
    home.root("parent", "publish", "parent.test.")
    assert list(elsewhere.iterdir()) == []


def test_no_link_that_is_swapped_in_has_a_file_of_root_s_given_away(home: Home) -> None:
    home.done("parent", "publish", "parent.test.")
    shadow = secret(home)
    with swapping(home.path / "keys", shadow, ".lock", "retired", "Kupdater.parent.test.identity.new"):
        for _ in range(ROUNDS):
            home.root("parent", "roll", "parent.test.")
            assert is_untouched(shadow)
    with swapping(home.path, shadow, "zonecut.db", "zonecut.db-wal", "zonecut.db.lock", ".zonecut-lock"):
        for _ in range(ROUNDS):
            home.root("key", "list")
            assert is_untouched(shadow)


def test_files_that_the_operator_names_are_read_and_written_as_root(home: Home, key: Path) -> None:
    done = home.root("key", "import", key)
    assert (done.returncode, done.stderr) == (0, "")
    target = key.parent / "zone"
    home.done("delegation", "export", "parent.test.", "--output", target)
    assert target.stat().st_uid == 0
    assert "child.parent.test." in target.read_text()


def test_root_runs_no_daemon_in_a_directory_of_somebody_else(home: Home) -> None:
    done = home.root("serve")
    assert done.returncode == 2
    assert f"root is not to run a daemon in {home.path}, which belongs to nobody" in done.stderr
    assert not (home.path / "zonecut.db").exists()


def test_two_users_are_one_too_many(home: Home) -> None:
    other = home.above / "other"
    other.mkdir()
    os.chown(other, OTHER, OTHER)
    home.configure({**home.configuration, "keys": {"directory": str(other / "keys")}})
    done = home.root("key", "list")
    assert done.returncode == 2
    assert f"{home.path} to nobody and {other} to uid {OTHER}" in done.stderr
