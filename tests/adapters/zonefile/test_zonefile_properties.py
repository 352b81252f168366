"""Whatever is written by the adapter `zonefile`, in whatever order, the files load and hold what a model holds."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zonecut.plugin import BackendConflict
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonefile_support import APEX, Parent, change, delegation, listed, served

CHILDREN = ("a", "b", "A-b", "1.x", "z\\;z", "ns1-b")
# Ways to write the same lines by hand: {c} is the child, relative; each is followed by something that must survive.
HAND = (
    "{c} NS ns1.{c}\n NS ns.x.\n TXT mine\nns1.{c} A 192.0.2.1\n TXT glue\n",
    (
        '$ORIGIN {c}.parent.example.\n@\tIN\tNS ( ns1\r\n) ; (\r\n  TXT "a;(b"\n'
        f"\tDS 1 13 2 (\n {'ab' * 16} ; x\n {'cd' * 16} )\nns1 60 AAAA ::1\n TXT x\n$ORIGIN parent.example.\n"
    ),
    "{c}.PARENT.example. 60 IN NS ns.x.\n IN 60 TXT y\n",
    "",
)

addresses = st.integers(1, 5).map(lambda n: f"192.0.2.{n}")


@st.composite
def delegations(draw: st.DrawFn, label: str) -> Delegation:
    child = f"{label}.parent.example."
    servers = draw(st.lists(st.sampled_from((f"ns1.{child}", child, f"ns2.x.{child}", "ns.x.", "ns.y.")), max_size=3))
    if not servers:
        return delegation(child)
    lines = [f"NS {server}" for server in servers]
    lines += [f"DS {tag} 13 2 {'ab' * 32}" for tag in draw(st.lists(st.integers(0, 3), max_size=2))]
    lines += [f"{server} A {draw(addresses)}" for server in servers if server.endswith(child)]
    return delegation(child, *lines)


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("write"),
            st.lists(st.sampled_from(CHILDREN), unique=True, min_size=1, max_size=4).flatmap(
                lambda labels: st.tuples(*(delegations(label) for label in labels))
            ),
        ),
        st.tuples(st.just("conflict"), st.sampled_from(CHILDREN).flatmap(delegations)),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("touch"), st.sampled_from(("; note\n", "\n", "more TXT ( x\n )\n"))),
    ),
    max_size=8,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps, st.lists(st.sampled_from(HAND), min_size=len(CHILDREN), max_size=len(CHILDREN)), st.booleans())
def test_any_sequence_of_changes_keeps_the_zone_equal_to_a_model(
    sequence: list[tuple[str, object]], hand: list[str], final_newline: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_play(Path(directory), sequence, hand, final_newline))


async def _play(directory: Path, sequence: list[tuple[str, object]], hand: list[str], final_newline: bool) -> None:
    text = APEX + "".join(lines.format(c=label) for label, lines in zip(CHILDREN, hand, strict=True))
    parent = Parent(directory).hold(text if final_newline else text.rstrip("\n"))
    backend = await parent.opened()
    model = await listed(backend)
    rest = parent.served() - served(*model.values())
    serial = parent.serial()
    for kind, value in sequence:
        if kind == "write":
            assert isinstance(value, tuple)
            changes = [change(model.get(each.child, Delegation(each.child)), each) for each in value]
            await backend.write(changes)
            model |= {each.child: each for each in value}
            assert await backend.verify(changes) == ()
            assert parent.serial() == serial + any(each.difference for each in changes)
        elif kind == "conflict":
            assert isinstance(value, Delegation)
            held = model.get(value.child, Delegation(value.child))
            wrong = delegation(names.to_text(value.child), "NS ns.wrong.")
            if (value.ns, value.ds) != (held.ns, held.ds):
                state = parent.zone_file.read_bytes(), parent.include.read_bytes()
                with pytest.raises(BackendConflict) as error:
                    await backend.write([change(wrong, value)])
                assert error.value.children == (value.child,)
                assert (parent.zone_file.read_bytes(), parent.include.read_bytes()) == state
        elif kind == "restart":
            backend = await parent.opened()
        else:
            assert isinstance(value, str)
            parent.zone_file.write_bytes(parent.zone_file.read_bytes() + b"\n" + value.encode())
            if "more" in value:
                rest = rest | {("more.parent.example.", "TXT", '"x"')}
        serial = parent.serial()
        expected = {child: each for child, each in model.items() if each.is_delegated}
        assert await listed(backend) == expected
        assert parent.served() == rest | served(*expected.values())
    assert await listed(await parent.opened()) == {c: each for c, each in model.items() if each.is_delegated}
