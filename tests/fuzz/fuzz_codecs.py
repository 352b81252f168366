"""Fuzz KeyState, DSYNC and SVCB: what is read comes back, and nothing is raised but what the codecs document."""

from zonecut.protocol.announced.dsync import Dsync, for_update
from zonecut.protocol.announced.svcb import Svcb, announced
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.keystate import KeyStateOption, Malformed, Revision, read_inquiry


def octets(data: bytes) -> None:
    for revision in Revision:
        read = read_inquiry(data, revision)
        assert not isinstance(read, Malformed) or len(read.response().to_data()) <= 259
    for codec in (KeyStateOption.from_data, Dsync.from_wire, Svcb.from_wire):
        try:
            value = codec(data)
        except MalformedMessage:
            continue
        if isinstance(value, KeyStateOption):
            assert KeyStateOption.from_data(value.to_data()) == value
        elif isinstance(value, Dsync):
            assert value.to_wire()[:5] == data[:5]
            assert Dsync.from_text(value.to_text()) == value
            for_update([value])
        else:
            assert Svcb.from_wire(value.to_wire()) == value
            assert Svcb.from_text(value.to_text()) == value
            announced([value])
            value.interval()


def text(data: bytes) -> None:
    line = data.decode(errors="replace")
    for record in (Dsync, Svcb):
        try:
            value = record.from_text(line)
            wire = value.to_wire()
        except ValueError:
            continue
        assert record.from_wire(wire) == value


def one_input(data: bytes) -> None:
    octets(data)
    text(data)
