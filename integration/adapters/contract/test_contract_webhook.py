"""The adapter contract against a provisioning system, which checks every signature."""

import secrets
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lab.scripted.provisioning import Provisioning
from lab.zones import ParentZone
from zonecut.plugin import Backend, BackendContext
from zonecut.plugin.contract import BackendContract, ContractServer, Serve
from zonecut.protocol import names
from zonecut.protocol.rrset import ResourceRecord
from zonecut_webhook import WebhookOptions
from zonecut_webhook.backend import WebhookBackend

_PATIENCE = 3.0


class ContractProvisioning(ContractServer):
    """A provisioning system with the contract's zone, edited in its database."""

    patience = _PATIENCE

    def __init__(self, system: Provisioning) -> None:
        self._system = system

    def backend(self) -> Backend:
        return self._backend(self._system.zone.name, self._system.key_file)

    @contextmanager
    def stranger(self) -> Iterator[Backend]:
        wrong = self._system.directory / "wrong.key"
        wrong.touch(mode=0o600)
        wrong.write_text(secrets.token_urlsafe(32))
        yield self._backend(self._system.zone.name, wrong)

    def misplaced(self) -> Backend:
        return self._backend("elsewhere.test.", self._system.key_file)

    def edit(self, remove: Sequence[tuple[bytes, int]] = (), add: Sequence[ResourceRecord] = ()) -> None:
        self._system.zone.remove((names.to_text(owner), rtype) for owner, rtype in remove)
        self._system.zone.load((names.to_text(each.owner), each.rtype, each.ttl, each.rdata) for each in add)

    def stop(self) -> None:
        self._system.kill()

    def start(self) -> None:
        self._system.start()

    def lose_zone(self) -> None:
        self._system.zone.lose()

    def find_zone(self) -> None:
        self._system.zone.find()

    def spoil(self, child: bytes) -> bool:
        with self._system.zone.database(write=True) as database:
            changed = database.execute("UPDATE record SET ttl = -1 WHERE owner = ?", (names.to_text(child),))
            return changed.rowcount > 0

    def hold(self) -> None:
        self._system.send_signal(signal.SIGSTOP)

    def release(self) -> None:
        self._system.send_signal(signal.SIGCONT)

    def _backend(self, zone: str, key: Path) -> Backend:
        options = WebhookOptions(url=self._system.url, key=key, timeout=_PATIENCE, write_timeout=_PATIENCE)
        return WebhookBackend(BackendContext(names.from_text(zone), self.ttls), options)


class TestWebhook(BackendContract):
    """All of it, orphan glue and strange names included."""

    makes_zones = True

    @pytest.fixture
    def serve(self, tmp_path: Path) -> Iterator[Serve]:
        with ExitStack() as stack:

            def started(master_file: str) -> ContractServer:
                zone = ParentZone(self.zone_name, master_file)
                return ContractProvisioning(stack.enter_context(Provisioning(tmp_path / "provisioning", zone)))

            yield started
