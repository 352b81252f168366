"""A message in dig's style, from our own envelope: what other libraries refuse to parse is shown as well.

Whatever a walked message holds can be rendered; where an octet string makes no sense, the text says so.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address

from zonecut.protocol import ede, names
from zonecut.protocol.codepoints import (
    EDNS_OPTION_EDE,
    CodePoints,
    Opcode,
    RRClass,
    RRType,
    rcode_text,
    type_text,
)
from zonecut.protocol.delegation import rdata_text
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import (
    ADDITIONAL,
    PREREQUISITE,
    UPDATE,
    Envelope,
    Question,
    Record,
    read_name,
    read_options,
)
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.flags import (
    AUTHENTIC_DATA,
    AUTHORITATIVE,
    CHECKING_DISABLED,
    DNSSEC_OK,
    QUERY_RESPONSE,
    RECURSION_AVAILABLE,
    RECURSION_DESIRED,
    TRUNCATED,
)
from zonecut.protocol.keys import Key, UnusableKey, algorithm_text
from zonecut.protocol.sig0 import Signature, signatures

_FLAGS = (
    (QUERY_RESPONSE, "qr"),
    (AUTHORITATIVE, "aa"),
    (TRUNCATED, "tc"),
    (RECURSION_DESIRED, "rd"),
    (RECURSION_AVAILABLE, "ra"),
    (AUTHENTIC_DATA, "ad"),
    (CHECKING_DISABLED, "cd"),
)
_SECTIONS = ("ZONE", "PREREQUISITE", "UPDATE", "ADDITIONAL")
_COUNTS = ("ZONE", "PREREQ", "UPDATE", "ADDITIONAL")
_QUERY_SECTIONS = ("QUESTION", "ANSWER", "AUTHORITY", "ADDITIONAL")
_QUERY_COUNTS = ("QUERY", "ANSWER", "AUTHORITY", "ADDITIONAL")
_NAME_TYPES = (RRType.NS, RRType.CNAME, RRType.DNAME)


def render(envelope: Envelope, codepoints: CodePoints) -> str:
    """The message as lines without a final line end."""
    is_update = envelope.opcode == Opcode.UPDATE
    titles = _SECTIONS if is_update else _QUERY_SECTIONS
    blocks = [_header(envelope, is_update)]
    if envelope.opt is not None:
        blocks.append(_opt(envelope, envelope.opt, codepoints))
    if envelope.questions:
        lines = [_question(envelope, question) for question in envelope.questions]
        blocks.append([f";; {titles[0]} SECTION:", *lines])
    signed = _signatures(envelope, codepoints)
    for section in (PREREQUISITE, UPDATE, ADDITIONAL):
        records = [record for record in envelope.section(section) if record is not envelope.opt]
        if records:
            lines = [line for record in records for line in _record(envelope, record, codepoints, signed)]
            blocks.append([f";; {titles[section]} SECTION:", *lines])
    blocks.append([f";; MSG SIZE: {len(envelope.wire)}"])
    return "\n\n".join("\n".join(block) for block in blocks)


def time_text(seconds: int) -> str:
    """A time of a signature, seconds since the epoch modulo 2**32, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _header(envelope: Envelope, is_update: bool) -> list[str]:
    try:
        opcode = Opcode(envelope.opcode).name
    except ValueError:
        opcode = f"OPCODE{envelope.opcode}"
    status = rcode_text(envelope.rcode, of_signed=is_update)
    flags = "".join(f" {text}" for bit, text in _FLAGS if envelope.flags & bit)
    counts = [len(envelope.questions), *(sum(1 for _ in envelope.section(each)) for each in (1, 2, 3))]
    titles = _COUNTS if is_update else _QUERY_COUNTS
    numbers = ", ".join(f"{title}: {count}" for title, count in zip(titles, counts, strict=True))
    return [
        f";; ->>HEADER<<- opcode: {opcode}, status: {status}, id: {envelope.id}",
        f";; flags:{flags}; {numbers}",
    ]


def _opt(envelope: Envelope, opt: Record, codepoints: CodePoints) -> list[str]:
    flags = " do" if opt.ttl & DNSSEC_OK else ""
    lines = [
        ";; OPT PSEUDOSECTION:",
        f"; EDNS: version: {opt.ttl >> 16 & 0xFF}, flags:{flags}; udp: {opt.rclass}",
    ]
    try:
        for code, data in read_options(envelope.rdata(opt)):
            lines.append(_option(code, data, codepoints))
    except MalformedMessage as error:
        lines.append(f"; malformed: {error.reason}")
    return lines


def _option(code: int, data: bytes, codepoints: CodePoints) -> str:
    if code != EDNS_OPTION_EDE:
        return f"; OPT={code}: {data.hex(' ')}".rstrip(" :")
    error = ExtendedError.from_data(data)
    text = f": ({error.text})" if error.text else ""
    return f"; EDE: {error.code} ({ede.describe(error.code, codepoints)}){text}"


def _question(envelope: Envelope, question: Question) -> str:
    return f";{_name(envelope, question.start)}\t\t{_class_text(question.qclass)}\t{type_text(question.qtype)}"


def _record(envelope: Envelope, record: Record, codepoints: CodePoints, signed: dict[int, Signature]) -> Iterator[str]:
    start = f"{_name(envelope, record.start)}\t{record.ttl}\t{_class_text(record.rclass)}\t{type_text(record.rtype)}"
    signature = signed.get(record.start)
    if signature is None:
        yield f"{start}\t{_rdata(envelope, record)}".rstrip("\t")
        return
    yield f"{start}\t{_sig_text(envelope, record, signature)}"
    yield (
        f"; signed by {names.to_text(signature.signer)}, key tag {signature.key_tag},"
        f" algorithm {algorithm_text(signature.algorithm, codepoints)}, valid from"
        f" {time_text(signature.inception)} to {time_text(signature.expiration)}"
    )


def _signatures(envelope: Envelope, codepoints: CodePoints) -> dict[int, Signature]:
    """The signatures by where their records start; none where the message is not signed as RFC 2931 wants it."""
    try:
        return {signature.start: signature for signature in signatures(envelope, codepoints.signature_type)}
    except MalformedMessage:
        return {}


def _sig_text(envelope: Envelope, record: Record, signature: Signature) -> str:
    covered = int.from_bytes(envelope.wire[record.rdata : record.rdata + 2])
    labels = envelope.wire[record.rdata + 3]
    original_ttl = int.from_bytes(envelope.wire[record.rdata + 4 : record.rdata + 8])
    return (
        f"{covered} {signature.algorithm} {labels} {original_ttl} {_compact(signature.expiration)}"
        f" {_compact(signature.inception)} {signature.key_tag} {names.to_text(signature.signer)}"
        f" {b64encode(signature.signature).decode()}"
    )


def _compact(seconds: int) -> str:
    # RFC 4034 section 3.2
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d%H%M%S")


def _rdata(envelope: Envelope, record: Record) -> str:
    rdata = envelope.rdata(record)
    if not rdata:
        return "" if record.rclass in (RRClass.ANY, RRClass.NONE) else "\\# 0"
    form = _FORMS.get(record.rtype)
    try:
        text = form(envelope, record) if form else None
    except (MalformedMessage, UnusableKey, ValueError):
        text = None
    return rdata_text(0, rdata) if text is None else text


def _name_rdata(envelope: Envelope, record: Record) -> str | None:
    name, end = read_name(envelope.wire, record.rdata)
    return names.to_text(name) if end == record.end else None


def _soa_rdata(envelope: Envelope, record: Record) -> str | None:
    primary, at = read_name(envelope.wire, record.rdata)
    mailbox, at = read_name(envelope.wire, at)
    if record.end - at != 20:
        return None
    numbers = [int.from_bytes(envelope.wire[start : start + 4]) for start in range(at, record.end, 4)]
    return " ".join([names.to_text(primary), names.to_text(mailbox), *map(str, numbers)])


def _address_rdata(envelope: Envelope, record: Record) -> str | None:
    rdata = envelope.rdata(record)
    return str(ip_address(rdata)) if len(rdata) == (4 if record.rtype == RRType.A else 16) else None


def _ds_rdata(envelope: Envelope, record: Record) -> str:
    return rdata_text(RRType.DS, envelope.rdata(record))


def _key_rdata(envelope: Envelope, record: Record) -> str:
    key = Key.from_rdata(names.ROOT, envelope.rdata(record))
    return f"{key.to_text().partition(' KEY ')[2]} ; key tag {key.tag}"


_FORMS: dict[int, Callable[[Envelope, Record], str | None]] = {
    **dict.fromkeys(map(int, _NAME_TYPES), _name_rdata),
    RRType.SOA: _soa_rdata,
    RRType.A: _address_rdata,
    RRType.AAAA: _address_rdata,
    RRType.DS: _ds_rdata,
    RRType.KEY: _key_rdata,
}


def _name(envelope: Envelope, start: int) -> str:
    """The name that starts at an offset, in the case in which it was sent."""
    try:
        return names.to_text(read_name(envelope.wire, start)[0])
    except MalformedMessage as error:
        return f"<{error.reason}>"


def _class_text(rclass: int) -> str:
    try:
        return RRClass(rclass).name
    except ValueError:
        return f"CLASS{rclass}"
