"""Fuzz the walk, the names and the options of raw messages: any octets are walked or malformed, nothing else."""

from zonecut.protocol.envelope import read_options, walk
from zonecut.protocol.errors import MalformedMessage


def one_input(data: bytes) -> None:
    try:
        envelope = walk(data)
        for question in envelope.questions:
            envelope.name(question.start)
        for record in envelope.records:
            assert record.start < record.rdata <= record.end <= len(data)
            assert envelope.describe(record)
            envelope.name(record.start)
        if envelope.opt:
            list(read_options(envelope.rdata(envelope.opt)))
    except MalformedMessage:
        return
