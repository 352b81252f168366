"""Whether knotd makes anew what a zone holds of signatures and digests. Pure."""

from collections.abc import Iterable, Mapping

from zonecut.plugin.wholezone import MADE_OF_ZONE, MNEMONICS, ZONEMD, made_elsewhere
from zonecut.protocol import names
from zonecut_knot.control import Item
from zonecut_knot.durable import Setting, setting_of

_RESIGNING, _NONE = "re-sign", "-"
"""The field of `zone-status` that says when knotd signs again, and what it says where it does not: with knotc, the
field is missing then."""


def check_made(zone: bytes, apex: Iterable[Item], setting: Setting, status: Mapping[str, str]) -> None:
    """Raises BackendMisconfigured for signatures or a digest at the apex that knotd does not make itself."""
    there = {item.rtype for item in apex}
    text = names.to_text(zone)
    signs = status.get(_RESIGNING, _NONE) != _NONE or setting_of(setting, text, "dnssec-signing") == "on"
    digests = setting_of(setting, text, "zonemd-generate").startswith("zonemd-")
    for rtype in sorted(MADE_OF_ZONE):
        if MNEMONICS[rtype] not in there or (digests if rtype == ZONEMD else signs):
            continue
        why, cure = _DIGEST if rtype == ZONEMD else _SIGNATURES
        raise made_elsewhere(zone, rtype, "knotd", why, cure)


_SIGNATURES = ("its `dnssec-signing` is off", "set `dnssec-signing: on` for the zone, or load it without signatures")
_DIGEST = ("its `zonemd-generate` is none", "set `zonemd-generate: zonemd-sha384` for the zone, or take the ZONEMD out")
