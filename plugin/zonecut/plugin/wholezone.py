"""Records that are made of a zone as a whole, by whoever signs or digests it (RFC 4034, RFC 5155, RFC 8976).

Where the server makes them anew with each change, they are its own business. Where they were made elsewhere and only
stand there, the first change makes the zone bogus, or its digest wrong.
"""

from zonecut.plugin.backend import BackendMisconfigured
from zonecut.protocol import names

RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, ZONEMD = 46, 47, 48, 50, 51, 63

MNEMONICS = {RRSIG: "RRSIG", NSEC: "NSEC", DNSKEY: "DNSKEY", NSEC3: "NSEC3", NSEC3PARAM: "NSEC3PARAM", ZONEMD: "ZONEMD"}

MADE_BY_SIGNER = frozenset(MNEMONICS)
"""What an adapter shows to nobody: it is not the operator's."""

MADE_OF_ZONE = MADE_BY_SIGNER - {DNSKEY}
"""What another zone has other records of. A DNSKEY alone is the key of a signer that may yet come."""

UNSIGNED_CURE = (
    "have the server sign the zone itself, or take these records out; where something signs the zone after zonecut, "
    "name the unsigned zone that it reads"
)
"""For signatures where the server is no signer."""

UNDIGESTED_CURE = "take the ZONEMD out, or let make it whoever serves the zone, after each change"
"""For a digest that nobody makes anew."""


def made_elsewhere(zone: bytes, rtype: int, where: str, why: str = "", cure: str = "") -> BackendMisconfigured:
    """The refusal of a zone that holds a record of this type, which nobody makes anew when the zone changes.

    `where` it stands; `why` it is known that the server does not make it; `cure` if it is not the ordinary one.
    """
    if rtype == ZONEMD:
        end, ordinary = "its digest is wrong, and who checks it (RFC 8976) refuses the zone", UNDIGESTED_CURE
    else:
        end, ordinary = "it is bogus (RFC 4035)", UNSIGNED_CURE
    reason = f"{where} holds {MNEMONICS[rtype]} records that somebody else made of the whole zone"
    if why:
        reason = f"{reason} ({why})"
    return BackendMisconfigured(f"{reason}: with the first change of {names.to_text(zone)} {end}; {cure or ordinary}")
