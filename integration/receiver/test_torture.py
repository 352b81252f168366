"""zonecut, the server, or both are killed at random points while children send changes all the time.

What was accepted is there in the end, whole, once and in order, whatever died when; and so is what an operator made by
hand meanwhile. Two of the children have their name servers in each other.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from byhand import Operator, delegate_siblings, siblings
from lab.daemons.servers import SIGNERS
from lab.process import LabError, until
from lab.zones import PARENT, ParentZone, Signing
from signer import Signer
from torture import Children, Client, Ledger, check_settled, check_validates, first_changes
from world import World

ROUNDS = int(os.environ.get("ZONECUT_ROUNDS", "6"))
"""How often each of them is killed: zonecut, the server, and both."""
CHILDREN = 8
SETTLE_SECONDS = 0.4
"""Between two kills, at most; at least an eighth of it."""

pytestmark = pytest.mark.crash


class Torture:
    """The kills, and what was seen at each."""

    def __init__(self, world: World, clients: list[Client], directory: Path, moments: random.Random) -> None:
        self._world = world
        self._clients = clients
        self._directory = directory
        self._moments = moments
        self.operator = Operator(world, moments)
        self._database = Path(world.store_url.removeprefix("sqlite:///"))
        self.seen: Counter[str] = Counter()

    def kill_zonecut(self) -> None:
        self._world.zonecut.kill()
        self._look_at_the_dead()
        self._world.zonecut.start()

    def kill_server(self) -> None:
        self._world.server.kill()
        self._pause(0.0, 0.3)
        self._world.server.start()

    def kill_both(self) -> None:
        victims = [self._world.zonecut, self._world.server]
        self._moments.shuffle(victims)
        victims[0].kill()
        # the other one may get some of what was under way done
        self._pause(0.0, 0.02)
        victims[1].kill()
        self._moments.shuffle(victims)
        victims[0].start()
        if self._moments.random() < 0.5 and victims[0] is self._world.server:
            self._look_at_the_dead()
        victims[1].start()

    def run(self) -> None:
        kills: list[Callable[[], None]] = [self.kill_zonecut, self.kill_server, self.kill_both] * ROUNDS
        self._moments.shuffle(kills)
        with Children(self._clients, self._world.port) as children, self.operator as operator:
            for kill in kills:
                self._pause(SETTLE_SECONDS / 8, SETTLE_SECONDS)
                # what is lost shows if no later change comes; but they do come while all starts, too
                looks = self._moments.random() < 0.5
                if looks:
                    children.stop()
                    operator.stop()
                kill()
                self.seen[kill.__name__] += 1
                if looks:
                    children.wait()
                    operator.wait()
                    self._check()
                    children.go()
                    operator.go()
            self._pause(SETTLE_SECONDS, SETTLE_SECONDS)
            children.stop()
            operator.stop()
            children.wait()
            operator.wait()
            self.seen["edits"] = operator.edits
            for _ in range(2):
                self._check()
                self._world.server.kill()
                self._world.server.start()

    def _check(self) -> None:
        """Nobody changes anything now: all of everybody's is there, and the zone is one that everybody takes."""
        check_settled(self._world, self._clients)
        self.operator.check()
        self._world.server.verify()
        check_validates(self._world, self._clients)

    def _pause(self, least: float, most: float) -> None:
        time.sleep(self._moments.uniform(least, most))

    def _look_at_the_dead(self) -> None:
        """Nobody writes now: no delegation is there in half, and none was written that the ledger does not know."""
        clients = self._clients
        try:
            # an inline-signed zone shows a change a moment later
            until(lambda: all(client.is_whole(self._world.records()) for client in clients), timeout=5, what="wholes")
        except LabError:
            records = self._world.records()
            raise LabError(str([client.held(records) for client in clients if not client.is_whole(records)])) from None
        records = self._world.records()
        ledger = Ledger.of_the_dead(self._database, self._directory)
        for client in clients:
            held, _ = client.held(records)
            child = client.signer.owner
            unsettled = ledger.numbers(child, "accepted")
            assert held in (*ledger.numbers(child, "applied"), *unsettled), client.signer.text
            self.seen["unsettled"] += len(unsettled)
            self.seen["between ledger and server"] += sum(number > held for number in unsettled)


@pytest.mark.parametrize(("server", "signing"), SIGNERS)
def test_whatever_is_killed_nothing_accepted_is_lost(tmp_path: Path, server: str, signing: Signing) -> None:
    clients = [Client(Signer.generate(f"child{number}")) for number in range(CHILDREN)]
    clients += siblings("one", "two")
    seed = random.randrange(2**32)
    zone = ParentZone(PARENT, delegations=CHILDREN, signing=signing)
    with World(tmp_path, zone, server=server, keys=[client.signer for client in clients]) as world:
        torture = Torture(world, clients, tmp_path, random.Random(seed))
        try:
            delegate_siblings(world, "one", "two")
            torture.operator.switch_off_beside(clients[0].signer)
            first_changes(world, clients)
            torture.run()
        finally:
            accepted = sum(len(client.accepted) for client in clients)
            later = sum(client.tried_later for client in clients)
            print(f"seed {seed}: {server} {signing}, accepted {accepted}, SERVFAIL {later}, {dict(torture.seen)}")
        assert accepted > 3 * ROUNDS
        assert torture.seen["unsettled"] > 0, "no kill came between ledger and server"
        # a line may be cut by a kill; a traceback is something else
        assert not [line for line in world.zonecut.stray_lines() if "Traceback" in line or "Error" in line]
        assert not world.zonecut.log_events("writer.defect")
