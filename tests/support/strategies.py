"""Hypothesis strategies for the values of delegation management."""

from hypothesis import strategies as st

from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation

CHILD = names.from_text("child.parent.example.")
LABELS = st.sampled_from([b"", b"\x03ns1", b"\x03ns2", b"\x01a\x03ns1"])
BELOW = LABELS.map(lambda label: label + CHILD)
NS = st.one_of(BELOW, st.sampled_from([names.from_text("ns.example."), names.from_text("ns1.other.example.")]))
DS = st.builds(lambda tag, digest: tag.to_bytes(2) + b"\x0d\x02" + digest, st.integers(0, 3), st.binary(min_size=1))

records = st.one_of(
    NS.map(lambda target: RR(CHILD, RRType.NS, target)),
    DS.map(lambda rdata: RR(CHILD, RRType.DS, rdata)),
    st.builds(lambda owner, rdata: RR(owner, RRType.A, rdata), BELOW, st.binary(min_size=4, max_size=4)),
    st.builds(lambda owner, rdata: RR(owner, RRType.AAAA, rdata), BELOW, st.binary(min_size=16, max_size=16)),
)
delegations = st.lists(records, max_size=8).map(lambda found: Delegation.of(CHILD, found))
