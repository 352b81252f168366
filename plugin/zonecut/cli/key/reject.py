"""`zonecut key reject`: an operator says no to a key that was uploaded."""

from zonecut.cli.choices import KeyStateChoice
from zonecut.cli.key import transition as key_transition
from zonecut.cli.options import (
    ChildArgument,
    ConfigOption,
    FingerprintOption,
    JsonOption,
    KeyidOption,
    ReasonOption,
)


def command(
    child: ChildArgument,
    keyid: KeyidOption = None,
    fingerprint: FingerprintOption = None,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reject a key that waits to be trusted.

    It stays known as refused, so that uploading it again changes nothing; `key trust` still can.

    Example: zonecut key reject child.parent.example. --keyid 46020 --reason "another fingerprint"
    """
    key_transition.run(KeyStateChoice.REFUSED, child, keyid, fingerprint, reason, config, as_json)
