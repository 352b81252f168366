"""`zonecut explain`: a captured message, who signed it, and what the receiver would do with it."""

import time
from pathlib import Path
from typing import Annotated

import typer

from zonecut import config as configuration
from zonecut.cli import session
from zonecut.cli.explaining.capture import read_capture
from zonecut.cli.explaining.pipeline import Findings, Verdict, examine
from zonecut.cli.failures import Exit
from zonecut.cli.options import ConfigOption, JsonOption
from zonecut.cli.terminal import output
from zonecut.cli.terminal.dig_format import render
from zonecut.cli.terminal.times import parse_time
from zonecut.config import Loaded
from zonecut.protocol.codepoints import DEFAULT


def _time(text: str) -> float:
    try:
        return parse_time(text, time.time())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="The message, raw or as hexadecimal digits or base64; - for standard input."
        ),
    ],
    at: Annotated[
        float | None,
        typer.Option(
            "--time", parser=_time, metavar="EPOCH", help="When it arrives, if not now; also 2026-11-24T05:38:00Z."
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain a captured message.

    It shows what the message is, who signed it, what would be done with it and why. Nothing is changed.

    Exit code 0: it would be accepted; 1: it would not. Without a configuration only what needs none is checked, and
    0 means that nothing refuses it so far.

    Example: zonecut explain update.bin --time 1795498700
    """
    wire = read_capture(file)
    loaded = _configuration(config)
    now = time.time() if at is None else at
    findings = session.run(examine(wire, now, loaded))
    if as_json:
        text = _rendered(findings, loaded)
        output.say_json({"octets": len(wire), "time": int(now), "message": text, **findings.to_json()})
    else:
        _say(findings, loaded, len(wire))
    raise typer.Exit(Exit.FAILED if findings.verdict in (Verdict.REFUSED, Verdict.IGNORED) else Exit.DONE)


def _configuration(config: Path | None) -> Loaded | None:
    """The configuration, None if there is none in the usual place and no other was named."""
    if config is None and not configuration.DEFAULT_PATH.exists():
        return None
    return session.load(config)


def _rendered(findings: Findings, loaded: Loaded | None) -> str | None:
    if findings.envelope is None:
        return None
    return render(findings.envelope, loaded.configuration.codepoints.to_codepoints() if loaded else DEFAULT)


def _say(findings: Findings, loaded: Loaded | None, octets: int) -> None:
    output.say_block(_rendered(findings, loaded) or f";; {octets} octets that are no message")
    _title("signed by")
    for finding in findings.signatures:
        output.say(f"  {finding.to_text()}")
    if not findings.signatures:
        output.say("  nobody, or not in a form that counts")
    if findings.passed:
        _title("steps")
    for step in findings.passed:
        output.say(f"  {step}")
    _title("verdict")
    output.say(f"  {findings.verdict.value}{f', {findings.rcode}' if findings.rcode else ''}")
    if findings.rule:
        output.say(f"  by the rule {findings.rule}: {findings.reason}")
    elif findings.reason:
        output.say(f"  {findings.reason}")
    if findings.ede:
        output.say(f"  extended error {findings.ede}")
    if findings.left_out:
        output.say(f"  left out: {findings.left_out}")
    difference = findings.difference
    if difference is not None:
        _title("difference that it makes" if findings.verdict == "accepted" else "difference that it asks for")
        for line in difference.to_text().splitlines() or ["none: the server holds that already"]:
            output.say(f"  {line}")


def _title(text: str) -> None:
    output.say("")
    output.say(text)
