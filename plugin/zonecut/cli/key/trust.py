"""`zonecut key trust`: an operator decides that a child's key is good."""

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
    """Trust a key of a child.

    From now on, what it signs may change the delegation of its owner.

    Compare the fingerprint first: zonecut key show. A revoked key cannot be trusted again. Of a key that is trusted, it
    says that the name servers which its child has now are meant.

    Example: zonecut key trust child.parent.example. --reason "ticket 4711"
    """
    key_transition.run(KeyStateChoice.TRUSTED, child, keyid, fingerprint, reason, config, as_json)
