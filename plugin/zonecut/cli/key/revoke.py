"""`zonecut key revoke`: an operator ends the trust in a child's key."""

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
    """Revoke a key for good.

    Within a second nothing that it signs is accepted any more.

    Example: zonecut key revoke child.parent.example. --keyid 46020 --reason lost
    """
    key_transition.run(KeyStateChoice.REVOKED, child, keyid, fingerprint, reason, config, as_json)
