"""Whether knotd, as it is configured, keeps what it is given when it is killed, restarted or told to reload. Pure.

Measured on 3.2: what is committed is in the journal and, with `zonefile-sync: 0`, in the zone file.
"""

from collections.abc import Callable

_DEFAULTS = {"zonefile-sync": "0", "zonefile-load": "whole", "journal-content": "changes"}

Setting = Callable[[str, str, str], str]
"""Section, identifier and item of knotd's configuration -> its value, empty where it is not set there."""


def lost_by(zone: str, setting: Setting) -> str | None:
    """Why a zone loses at the next start or reload what is written to it now; None if it does not.

    `zone` as a name with its final dot. What is not set for the zone is set in its template, or has its default.
    """
    template = setting("zone", zone, "template") or "default"
    values = {
        item: setting("zone", zone, item) or setting("template", template, item) or default
        for item, default in _DEFAULTS.items()
    }
    if values["zonefile-sync"] == "0":
        return None
    for item, value in (("zonefile-load", "difference-no-serial"), ("journal-content", "none")):
        if values[item] == value:
            return (
                f"knotd forgets what is changed in {zone} when it starts or reloads: `{item}: {value}` needs "
                f"`zonefile-sync: 0`, which is {values['zonefile-sync']}"
            )
    return None
