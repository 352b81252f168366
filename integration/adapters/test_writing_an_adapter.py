"""The guide for adapters: its example is installed from the very text, as somebody else's package, and works."""

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from lab.ports import LOOPBACK, free_port
from lab.process import until
from lab.zonecut import ZonecutProcess
from peer import UdpPeer
from signer import DS, Signer, ds
from zonecut.protocol import message, names

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "adapters" / "README.md"
BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ZONE = "parent.example."
CHILD = f"child.{ZONE}"
INSTALL_SECONDS = 600


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every file of which the guide shows the text."""
    directory = tmp_path_factory.mktemp("guide") / "zonecut-recordfile"
    for name, text in BLOCK.findall(GUIDE.read_text()):
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return directory


@pytest.fixture(scope="module")
def environment(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh virtual environment with zonecut and the example, and nothing of this checkout's.

    No registry is asked: both are built with what this environment has, and find there what they need.
    """
    directory = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", directory)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", directory / "bin/python")
    offline = ("--quiet", "--no-index", "--no-build-isolation", "--no-deps")
    # what is to build the two has to be seen from there
    ours, theirs = sysconfig.get_path("purelib"), sysconfig.get_path("purelib", vars={"base": str(directory)})
    (Path(theirs) / "beside.pth").write_text(f"{ours}\n")
    run(*pip, "install", *offline, ROOT, package)
    run(*pip, "check")
    assert str(directory) in run(directory / "bin/python", "-c", "import zonecut; print(zonecut.__file__)")
    return directory / "bin"


def run(*argv: str | Path, cwd: Path | None = None, **variables: str) -> str:
    """What a program prints, run without anything of this test's environment; it has to succeed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        list(map(str, argv)), cwd=cwd, env=kept | variables, capture_output=True, text=True, timeout=INSTALL_SECONDS
    )
    assert done.returncode == 0, f"{' '.join(map(str, argv))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def zonecut(package: Path, environment: Path, tmp_path: Path) -> Iterator[ZonecutProcess]:
    """zonecut with the guide's configuration and zone, not started."""
    (tmp_path / "zone.records").write_text((package / "zone.records").read_text())
    configuration = yaml.safe_load((package / "zonecut.yaml").read_text().replace("DIRECTORY", str(tmp_path)))
    configuration["receiver"]["listen"] = [f"{LOOPBACK}:{free_port()}"]
    with ExitStack() as stack:
        process = ZonecutProcess(tmp_path, configuration, command=environment / "zonecut")
        stack.callback(process.kill)
        yield process


def test_the_example_passes_the_contract(package: Path, environment: Path) -> None:
    said = run(environment / "python", "-m", "pytest", "-q", "tests", cwd=package, ZONECUT_CONTRACT_DELEGATIONS="500")
    assert re.search(r"\d{2} passed", said)
    assert "skipped" not in said


def test_the_example_is_typed_like_our_own(package: Path) -> None:
    argv = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--explicit-package-bases",
        "--config-file=",
        "zonecut_recordfile",
    ]
    run(*argv, "tests", cwd=package, MYPYPATH=f"{package}:{ROOT / 'plugin'}")


def test_schema_and_check_config_know_it(zonecut: ZonecutProcess, tmp_path: Path) -> None:
    document = json.loads(run(zonecut.command, "schema"))
    choices = document["$defs"]["ParentSection"]["properties"]["backend"]["oneOf"]
    (options,) = [each for each in choices if each["properties"]["adapter"]["const"] == "recordfile"]
    assert {"file", "timeout"} < set(options["properties"])
    assert options["additionalProperties"] is False
    checked = zonecut.cli("check-config", "--strict")
    assert checked["problems"] == []
    backend = zonecut.configuration["parents"][0]["backend"]
    zonecut.configure(
        {**zonecut.configuration, "parents": [{"zone": ZONE, "backend": {**backend, "timeout": 0, "x": 1}}]}
    )
    problems = zonecut.cli("check-config", expect=2)["problems"]
    assert [problem.split(":")[0] for problem in problems] == ["parents[0].backend.timeout", "parents[0].backend.x"]
    missing = {**backend, "file": str(tmp_path / "none")}
    zonecut.configure({**zonecut.configuration, "parents": [{"zone": ZONE, "backend": missing}]})
    assert "No such file" in zonecut.cli("check-config", "--strict", expect=1)["problems"][0]


def test_serve_writes_a_child_s_change_through_it(zonecut: ZonecutProcess, tmp_path: Path) -> None:
    child = Signer.generate(CHILD)
    zonecut.cli("key", "import", "--trust", child.write_public(tmp_path / "keys"))
    zonecut.start()
    zone = names.from_text(ZONE)
    digest = bytes(range(32))
    wire = child.update(
        message.delete_rrset(child.owner, DS), message.add(child.owner, DS, 60, ds(digest=digest)), zone=zone
    )
    with UdpPeer(zonecut.port) as peer:
        until(lambda: bool(zonecut.log_events("zone.ready")), timeout=10, what="the zone is ready")
        assert peer.ask(wire).rcode == "NOERROR"
    records = [json.loads(line) for line in (tmp_path / "zone.records").read_text().splitlines()]
    assert [CHILD, 43, 3600, ds(digest=digest).hex()] in records
    # the serial has risen
    assert records[0][3][-40:-32] == "00000002"
    assert zonecut.cli("delegation", "show", CHILD)["ds"] == [f"4711 13 2 {digest.hex().upper()}"]
    assert zonecut.stop() == 0
