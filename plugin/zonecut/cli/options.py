"""Options and arguments that several commands have, and how their texts are read."""

from pathlib import Path
from typing import Annotated

import typer

from zonecut.protocol import names
from zonecut.protocol.foreigntext import clip


def name_of(text: str) -> bytes:
    """A name on a command line."""
    try:
        return names.from_text(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _fingerprint(text: str) -> str:
    digits = "".join(text.replace(":", " ").split()).upper()
    if not digits or not set(digits) <= set("0123456789ABCDEF"):
        raise typer.BadParameter(f"{text!r} is not the beginning of a fingerprint such as '9F86 D081'")
    return digits


def example(text: str) -> str:
    """The last lines of a command's help."""
    return f"Example: {text}"


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="ZONECUT_CONFIG",
        metavar="FILE",
        help="The configuration; /etc/zonecut/zonecut.yaml if not given.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]
ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="TEXT", parser=clip, help="Why; it is kept in the audit trail.")
]
ChildArgument = Annotated[bytes, typer.Argument(parser=name_of, metavar="CHILD", help="A child zone's name.")]
ZoneArgument = Annotated[bytes, typer.Argument(parser=name_of, metavar="ZONE", help="A parent zone's name.")]
ChildZoneArgument = Annotated[bytes, typer.Argument(parser=name_of, metavar="ZONE", help="A child zone's name.")]
OptionalChildZoneArgument = Annotated[
    bytes | None, typer.Argument(parser=name_of, metavar="ZONE", show_default=False, help="Only this child zone.")
]
OptionalChildArgument = Annotated[
    bytes | None, typer.Argument(parser=name_of, metavar="CHILD", show_default=False, help="Only this child zone.")
]
ChildOption = Annotated[
    bytes | None, typer.Option("--child", parser=name_of, metavar="NAME", help="Only those of this child zone.")
]
KeyidOption = Annotated[
    int | None,
    typer.Option("--keyid", metavar="N", min=0, max=0xFFFF, help="The key tag, if the child has several keys."),
]
FingerprintOption = Annotated[
    str | None,
    typer.Option(
        "--fingerprint", parser=_fingerprint, metavar="HEX", help="How the fingerprint begins, if tags are the same."
    ),
]
LimitOption = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, max=1_000_000, help="At most so many, the newest first.")
]
