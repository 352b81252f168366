"""Records that are switched off: in the database, not served, and shown by the API only in a whole zone or a search.

A write replaces whole RRsets, so whoever writes one has to bring them along. Pure.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from zonecut_powerdns.bodies import Key, SwitchedOff
from zonecut_powerdns.content import name_text, name_wire, type_number

_BEGIN = re.compile(r'"rrsets"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")


class Document:
    """The document of a zone as it comes in, of any size: one RRset at a time is in memory."""

    def __init__(self) -> None:
        self._text = ""
        self._octets = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._begun = self._ended = False

    def owners(self, octets: bytes) -> Iterator[bytes]:
        """The owners of RRsets in these octets with records that are switched off. Raises ValueError."""
        self._text += self._octets.decode(octets)
        for rrset in self._rrsets():
            try:
                if any(record["disabled"] for record in rrset["records"]):
                    yield name_wire(rrset["name"])
            except (KeyError, TypeError) as error:
                raise ValueError(f"no RRset as PowerDNS writes them: {error!r}") from None

    def finish(self) -> None:
        """Raises ValueError if the document ended early."""
        if not self._ended:
            raise ValueError("the zone's document ends early")

    def _rrsets(self) -> Iterator[Any]:
        if not self._begun:
            found = _BEGIN.search(self._text)
            if found is None:
                return
            self._text, self._begun = self._text[found.end() :], True
        at = 0
        while not self._ended:
            at = _BETWEEN.match(self._text, at).end()  # type: ignore[union-attr]
            if self._text[at : at + 1] == "]":
                self._ended = True
                break
            try:
                rrset, at = _DECODER.raw_decode(self._text, at)
            except ValueError:
                break  # its rest is still to come
            yield rrset
        self._text = self._text[at:]


_DECODER = json.JSONDecoder()


def switched_off(found: Iterable[Mapping[str, Any]], zone: bytes, owner: bytes) -> SwitchedOff:
    """What is switched off at an owner, by what a search found. Raises ValueError for what cannot be understood."""
    off: dict[Key, tuple[str, ...]] = {}
    try:
        for each in found:
            here = each["object_type"] == "record" and each["zone"] == name_text(zone)
            if here and each["disabled"] and name_wire(each["name"]) == owner:
                key = owner, type_number(each["type"])
                off[key] = (*off.get(key, ()), each["content"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"no search result as PowerDNS writes them: {error!r}") from None
    return off
