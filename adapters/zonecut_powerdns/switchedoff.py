"""Records that are switched off: in the database, not served, and shown by the API for certain only in a whole zone.

A write replaces whole RRsets, so whoever writes one has to bring them along. Pure.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from zonecut_powerdns.bodies import Key
from zonecut_powerdns.content import name_wire, type_number

_BEGIN = re.compile(r'"rrsets"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")


class Document:
    """The document of a zone as it comes in, of any size: one RRset at a time is in memory."""

    def __init__(self) -> None:
        self._text = ""
        self._octets = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._begun = self._ended = False

    def switched_off(self, octets: bytes) -> Iterator[tuple[Key, tuple[str, ...]]]:
        """The contents that are switched off in the RRsets of these octets, by owner and type. Raises ValueError."""
        self._text += self._octets.decode(octets)
        for rrset in self._rrsets():
            try:
                if off := tuple(record["content"] for record in rrset["records"] if record["disabled"]):
                    yield (name_wire(rrset["name"]), type_number(rrset["type"])), off
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
