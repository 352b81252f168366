"""The guided tour, run as its users run it: the installed command, with a zone file and with each real server."""

import io
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lab.zonecut import COMMAND
from zonecut.demo import tour
from zonecut.demo.cast import Cast
from zonecut.demo.servers.authority import BETA

PROGRAMS = {"bind": "named", "knot": "knotd", "powerdns": "pdns_server"}
SIGNED = "the answer is signed with the KEY that the parent publishes"
CLAIMS = {
    1: ["the zone delegates alpha and beta", "alpha is signed: its DS is there"],
    2: ["DSYNC leads to the port on which zonecut listens", "SVCB offers at-apex, and an operator as a last resort"],
    3: ["it is the receiver that was announced", "with its key", "for which DNSSEC vouches"],
    4: [
        "it went through every phase",
        "nobody but its owner can read the private half",
        "what is published is the public half",
        "the receiver trusts that key, by at-apex",
        "there was nothing to change yet",
    ],
    5: [
        "it sent one UPDATE, which was accepted",
        "the parent holds what alpha's zone says, and nothing else of alpha",
        "and all is well",
        "beta is as it was",
        "the serial has risen",
    ],
    6: ["the ledger holds one change, applied", "with the whole signed message as evidence"],
    7: ["the status names the record and the rule", "and says what to do", "no record of the zone has moved"],
    8: [SIGNED, "beta's key is KEY_BOOTSTRAP_MANUAL", "the answer is REFUSED", "extended error 49162 names the reason"],
    9: ["the key has the fingerprint that beta reads out", "two keys are trusted, each by its method", SIGNED],
    10: ["the answer is NOERROR", "the parent has that address, and not the one before"],
    11: ["the answer is BADKEY", "the answer is BADSIG", "no record of the zone has moved"],
    12: ["the answer is REFUSED", "extended error 18 names the reason", "no record of the zone has moved"],
    13: ["the answer is REFUSED", "extended error 18 names the reason", "no record of the zone has moved"],
    14: ["the answer is NOERROR", "no record of the zone has moved"],
    15: ["the answer is REFUSED", "extended error 18 names the reason", SIGNED, "beta's key is KEY_REFUSED"],
    16: [
        "nothing but the SOA, the announcement, alpha and beta has changed",
        "one change of each child was applied",
        "it has each refusal of a change that a child signed, with its rule, and none of a forgery",
        "it tells the life of each key: who brought it, who trusted it, who ended it",
    ],
}


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Temporary files go to a directory of the test's own, in which nothing may be left."""
    directory = tmp_path / "t"  # short, for the path of a socket below it
    directory.mkdir()
    yield {**os.environ, "TMPDIR": str(directory)}
    assert list(directory.iterdir()) == []
    assert _running(directory) == []


def _running(directory: Path) -> list[str]:
    """The command lines of processes that work below a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(directory):
                found.append((process / "cmdline").read_text())
        except OSError:  # it has ended, or is somebody else's
            continue
    return found


def _demo(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "demo", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("adapter", ["zonefile", *PROGRAMS])
def test_every_step_does_what_it_says(adapter: str, environment: dict[str, str]) -> None:
    done = _demo(environment, "--adapter", adapter, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["passed"]
    assert document["adapter"] == adapter
    assert document["failure"] is None
    claims = {step["number"]: [check["claim"] for check in step["checks"]] for step in document["steps"]}
    assert list(claims) == list(CLAIMS)
    for number, wanted in CLAIMS.items():
        assert set(wanted) <= set(claims[number])
    assert all(check["passed"] for step in document["steps"] for check in step["checks"])
    server = PROGRAMS.get(adapter, "the tour's name server")
    assert f"that is what {server} answers" in claims[5]


def test_the_tour_is_narrow_and_plain_shows_refusals_with_their_reasons_and_keeps_its_files(tmp_path: Path) -> None:
    done = _demo({**os.environ, "TMPDIR": str(tmp_path)}, "--keep")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert re.findall(r"^([0-9]+)\. ", done.stdout, re.MULTILINE) == [str(number) for number in CLAIMS]
    text = " ".join(done.stdout.split())
    assert "status: BADSIG" in text
    assert "EDE: 18 (Prohibited): (beta.parent.example. NS ns3.beta.parent.example.: in the child zone" in text
    assert re.search(r"by the rule ds-digest: beta.parent.example. DS [0-9A-F ]+: digest type 1; accepted are", text)

    (directory,) = tmp_path.iterdir()
    assert str(directory) in "".join(done.stdout.split())
    for file in ("zonecut.yaml", "parent.example.delegations", "alpha/zonecut.yaml", "alpha/alpha.parent.example.zone"):
        assert (directory / file).exists()
    assert _running(directory) == []


@pytest.mark.parametrize(("adapter", "name"), PROGRAMS.items())
def test_a_server_that_does_not_start_ends_the_tour_with_its_log(
    environment: dict[str, str], tmp_path: Path, adapter: str, name: str
) -> None:
    program = tmp_path / "bin" / name
    program.parent.mkdir()
    program.write_text("#!/bin/sh\ncase $1 in -v|--version) echo A 0 ;; *) echo cannot serve >&2; exit 3 ;; esac\n")
    program.chmod(0o755)
    done = _demo({**environment, "PATH": f"{program.parent}:{environment['PATH']}"}, "--adapter", adapter, "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert not document["passed"]
    assert document["failure"] == f"{name} ended with 3 instead of serving"
    assert "cannot serve" in document["logs"][name]
    assert "cannot serve" in done.stderr


def test_a_step_that_finds_something_else_fails_the_tour(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    def wrong(cast: Cast) -> None:
        cast.tell.step("A wrong claim", "beta has a DS.")
        cast.tell.check("beta has a DS", True, any(" DS " in line for line in cast.stage.records_of(BETA)))

    monkeypatch.setattr("tempfile.tempdir", environment["TMPDIR"])
    printed = io.StringIO()
    report = tour.run("zonefile", Console(file=printed), lambda wire: "", steps=(tour.STEPS[0], wrong))
    assert not report.passed
    assert [step.passed for step in report.steps] == [True, False]
    assert report.failure == "step 2, A wrong claim: beta has a DS\n  expected: True\n  found:    False"
    assert "serve.started" in report.logs["zonecut"]
    assert "alpha" not in report.logs
    assert "expected: True" in printed.getvalue()


def test_another_adapter_is_wrong_usage(environment: dict[str, str]) -> None:
    done = _demo(environment, "--adapter", "nothing")
    assert done.returncode == 2
    assert "zonefile" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_interrupts_it_leaves_nothing_behind(number: signal.Signals, environment: dict[str, str]) -> None:
    directory = Path(environment["TMPDIR"])
    with subprocess.Popen(
        # in the background of a shell, SIGINT would be ignored from the start
        ["env", "--default-signal=INT", COMMAND, "demo", "--adapter", "bind"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        deadline = time.monotonic() + 30
        # all that the tour starts runs then
        while not any(log.stat().st_size for log in directory.glob("*/alpha.log")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        _, complaints = process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else 128 + signal.SIGTERM)
    assert b"Traceback" not in complaints
