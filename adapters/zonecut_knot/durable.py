"""Whether knotd, as it is configured, keeps what it is given when it is killed, restarted or told to reload. Pure.

Measured on 3.2 and 3.4: what is committed is in the journal. It is in the zone file later, if at all: also with
`zonefile-sync: 0`, the commit is answered before. Where the journal holds all of the zone and the zone file is loaded
as a whole, the two do not go together: after a few starts the older file is what is served, or the zone is not loaded.
"""

from collections.abc import Callable

_DEFAULTS = {"zonefile-load": "whole", "journal-content": "changes"}
_FORGETFUL = {"zonefile-load": "difference-no-serial", "journal-content": "none"}
_AT_ODDS = {"zonefile-load": "whole", "journal-content": "all"}

Setting = Callable[[str, str, str], str]
"""Section, identifier and item of knotd's configuration -> its value, empty where it is not set there."""


def setting_of(setting: Setting, zone: str, item: str) -> str:
    """What is set for a zone, or in its template; empty where neither says anything."""
    return setting("zone", zone, item) or setting("template", setting("zone", zone, "template") or "default", item)


def lost_by(zone: str, setting: Setting) -> str | None:
    """Why a zone can lose at the next start or reload what is written to it now; None if it cannot.

    `zone` as a name with its final dot. What is not set for the zone is set in its template, or has its default.
    """
    values = {item: setting_of(setting, zone, item) or default for item, default in _DEFAULTS.items()}
    head = f"knotd forgets what is changed in {zone} when it starts or reloads before that is in the zone file"
    for item, value in values.items():
        if value == _FORGETFUL[item]:
            return f"{head}: `{item}: {value}` cannot be used"
    if values == _AT_ODDS:
        return (
            f"{head}: `zonefile-load: whole` cannot be used with `journal-content: all`; "
            "set `zonefile-load: difference`, or `none`"
        )
    return None
