"""A whole agent whose parent is the prototype `tdns`, in both its revisions, in a signed tree.

It signs what it says of keys, and never what it says to UPDATEs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent_world import QUICK
from lab.process import until
from lab.scripted import behaviours
from lab.scripted.hostile import HostileReceiver
from lab.scripted.prototype import Prototype, Revision
from lab.scripted.scripted_parent import CHILD, UPDATER, PlayedParent
from lab.zonecut import ZonecutProcess
from zonecut.agent.keys.child_keys import ChildKeys
from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, ReceiverState

MANUAL, TRUSTED = ReceiverState.BOOTSTRAP_MANUAL, ReceiverState.TRUSTED
NEW_NS = names.from_text(f"ns3.{CHILD}")


class Life:
    """An agent, its parent and the prototype."""

    def __init__(self, played: PlayedParent, prototype: Prototype, process: ZonecutProcess) -> None:
        self.played, self.prototype, self.process = played, prototype, process

    def reasons(self, phase: str) -> list[str]:
        return [each["reason"] for each in self.process.log_events("agent.state") if each["phase"] == phase]

    def comes_to(self, phase: str, times: int = 1) -> None:
        until(lambda: len(self.reasons(phase)) >= times, timeout=30, what=f"it is {phase} for time {times}")

    def put_servers(self, *labels: str) -> None:
        """The child has these name servers from now on."""
        self.played.child.put("@", "NS", *(f"{label}.{CHILD}" for label in labels))


@contextmanager
def living(directory: Path, *, serve: bool = True, **options: Any) -> Iterator[Life]:
    with HostileReceiver(UPDATER, behaviours.silent) as receiver, PlayedParent(receiver) as played:
        keys = ChildKeys(directory / "keys", names.from_text(CHILD), DEFAULT)
        played.put_key(keys.make("ED25519").key)
        played.child.put("ns3", "A", "127.0.0.1")
        prototype = Prototype(receiver, played.apply, **options)
        receiver.play(prototype)
        life = Life(played, prototype, ZonecutProcess(directory, played.configuration(directory, **QUICK)))
        life.put_servers("ns1", "ns2", "ns3")
        if serve:
            with life.process:
                yield life
        else:
            yield life


@pytest.mark.parametrize("revision", Revision)
def test_a_child_of_the_prototype_comes_to_be_trusted_in_sync_and_through_a_roll(
    tmp_path: Path, revision: Revision
) -> None:
    with living(tmp_path, revision=revision) as life:
        until(lambda: MANUAL in life.prototype.keys.values(), timeout=20, what="the single addition is tried")
        until(lambda: any("MANUAL" in each for each in life.reasons("bootstrapping")), timeout=20, what="it is told")
        life.prototype.trust()
        life.comes_to("in-sync")
        assert NEW_NS in life.played.delegation.ns
        (old,) = life.prototype.keys
        life.process.cli("child", "roll", CHILD, expect=None)
        until(lambda: bool(life.process.log_events("agent.roll-ends")), timeout=30, what="the roll is over")
        assert old not in life.prototype.keys
        assert list(life.prototype.keys.values()) == [TRUSTED]
        # it has lost the key, and answers the upload of both records with "known, but not yet trusted"
        life.prototype.lose()
        life.put_servers("ns1", "ns2")
        until(lambda: MANUAL in life.prototype.keys.values(), timeout=30, what="the key is uploaded anew")
        life.prototype.trust()
        until(lambda: NEW_NS not in life.played.delegation.ns, timeout=30, what="the change is made")
        assert not life.reasons("held")


def test_by_command_the_prototype_is_a_parent_as_any(tmp_path: Path) -> None:
    with living(tmp_path, serve=False, revision=Revision.OLD) as life:
        told = life.process.cli("child", "bootstrap", CHILD, json=False, expect=3)
        assert "KEY_BOOTSTRAP_MANUAL" in told
        life.prototype.trust()
        assert "in-sync" in life.process.cli("child", "sync", CHILD, json=False, expect=0)
        assert NEW_NS in life.played.delegation.ns
        (old,) = life.prototype.keys
        until(lambda: life.process.cli("child", "roll", CHILD, expect=None)["roll"] is None, timeout=30, what="rolled")
        assert list(life.prototype.keys.values()) == [TRUSTED]
        assert old not in life.prototype.keys


def test_a_parent_that_takes_no_uploads_and_looks_the_key_up_is_asked_until_it_has(tmp_path: Path) -> None:
    found: list[int] = []
    with living(tmp_path, revision=Revision.NEW, looks_up=lambda tag: tag in found) as life:
        until(lambda: len(life.process.log_events("agent.bootstrap")) >= 2, timeout=20, what="uploads are not taken")
        assert "545" in life.process.log_events("agent.bootstrap")[-1]["reason"]
        (file,) = (tmp_path / "keys" / "children").rglob("K*.private")
        found.append(int(file.stem.rpartition("+")[2]))
        life.comes_to("in-sync")
        assert NEW_NS in life.played.delegation.ns
        assert not life.reasons("held")
