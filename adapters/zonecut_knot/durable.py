"""Whether knotd, as it is configured, keeps what it is given when it is killed, restarted or told to reload. Pure.

Measured on 3.2: what is committed is in the journal. It is in the zone file later, if at all: also with
`zonefile-sync: 0`, the commit is answered before.
"""

from collections.abc import Callable

_DEFAULTS = {"zonefile-load": "whole", "journal-content": "changes"}
_FORGETFUL = {"zonefile-load": "difference-no-serial", "journal-content": "none"}

Setting = Callable[[str, str, str], str]
"""Section, identifier and item of knotd's configuration -> its value, empty where it is not set there."""


def lost_by(zone: str, setting: Setting) -> str | None:
    """Why a zone can lose at the next start or reload what is written to it now; None if it cannot.

    `zone` as a name with its final dot. What is not set for the zone is set in its template, or has its default.
    """
    template = setting("zone", zone, "template") or "default"
    for item, default in _DEFAULTS.items():
        value = setting("zone", zone, item) or setting("template", template, item) or default
        if value == _FORGETFUL[item]:
            return (
                f"knotd forgets what is changed in {zone} when it starts or reloads before that is in the zone file: "
                f"`{item}: {value}` cannot be used"
            )
    return None
