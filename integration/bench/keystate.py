"""What the benchmarks of KeyState have in common: inquiries, a receiver, and what the crypto library does for one."""

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench import setting
from bench.cores import RECEIVER_CORE, on_core
from bench.traffic import requests
from lab.process import LabError
from lab.zonecut import ZonecutProcess
from zonecut.protocol import message
from zonecut.protocol.codepoints import DEFAULT, ReceiverState, RRType
from zonecut.protocol.envelope import read_options, walk
from zonecut.protocol.keys import Key, KeyPair, verifier
from zonecut.protocol.keystate import KeyStateOption, inquire
from zonecut.protocol.sig0 import Signature, sign_request, signatures, signed_data, verify_response

CHILDREN = 1000
SIGNED = 2
"""Records in the additional section of a signed answer: OPT and SIG."""
_UNLIMITED = {"unverified_burst": 10**9, "unverified_rate": 1e9}
_SECONDS = 0.7
_CHUNK = 100
_SILENCE = 5.0


def inquiries(pairs: Sequence[KeyPair], *, signed: bool) -> list[bytes]:
    """An inquiry of each child about its trusted key; the IDs count up from 0."""
    now = int(time.time())
    found = []
    for number in range(CHILDREN):
        pair = requests.pair_of(number, pairs)
        opt = message.opt_record(inquire(pair.key.tag).to_option(DEFAULT))
        wire = message.query(number, pair.key.owner, RRType.KEY, additional=(opt,))
        if signed:
            wire = sign_request(wire, pair, now - 10, now + requests.VALIDITY, signature_type=RRType.SIG)
        found.append(wire)
    return found


def receiver(directory: Path, pairs: Sequence[KeyPair]) -> ZonecutProcess:
    """A receiver that trusts the children's keys, and signs for whoever asks."""
    store = setting.new_store(directory / "zonecut.db", CHILDREN, pairs)
    return setting.receiver(directory, setting.file_backend(directory / "zone"), store, _UNLIMITED)


@dataclass(frozen=True)
class Exchange:
    """An inquiry and the answer to it."""

    request: bytes
    response: bytes

    @property
    def signature(self) -> Signature:
        """Of the response."""
        (signature,) = signatures(walk(self.response), RRType.SIG)
        return signature


def ask(process: ZonecutProcess, inquiry: bytes) -> Exchange:
    """One exchange. LabError unless the answer says KEY_TRUSTED and the receiver's own signature verifies."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(_SILENCE)
        udp.connect(setting.address(process))
        udp.send(inquiry)
        exchange = Exchange(inquiry, udp.recv(4096))
    (file,) = (process.directory / "keys").glob("*.key")
    verify = verifier(Key.from_text(file.read_text()), DEFAULT)
    if not verify_response(exchange.response, exchange.signature, verify, inquiry):
        raise LabError("the answer's signature is not the receiver's")
    envelope = walk(exchange.response)
    assert envelope.opt is not None
    options = dict(read_options(envelope.rdata(envelope.opt)))
    state = KeyStateOption.from_data(options[DEFAULT.keystate_option]).receiver_state
    if state is not ReceiverState.TRUSTED:
        raise LabError(f"the answer says {state!r}")
    return exchange


@dataclass(frozen=True)
class Limit:
    """What the crypto library does for an inquiry: how often a second, and CPU seconds each time."""

    per_second: float
    cpu: float


def limit(pair: KeyPair, exchange: Exchange, *, verify: bool) -> Limit:
    """Sign the data of this answer, and before that `verify` that of its inquiry, while the receiver idles.

    `pair` signed the inquiry; it signs the answer here, which costs the same as with the receiver's own.
    """
    answered = signed_data(exchange.response, exchange.signature, request=exchange.request)
    assert isinstance(pair.private, Ed25519PrivateKey)
    sign, check = pair.private.sign, pair.private.public_key().verify
    asked: tuple[bytes, bytes] | None = None
    if verify:
        (signature,) = signatures(walk(exchange.request), RRType.SIG)
        asked = signature.signature, signed_data(exchange.request, signature)
    count = 0
    with on_core(RECEIVER_CORE):
        cpu, start = time.thread_time(), time.perf_counter()
        while time.perf_counter() - start < _SECONDS:
            for _ in range(_CHUNK):
                if asked is not None:
                    check(*asked)
                sign(answered)
            count += _CHUNK
        seconds, used = time.perf_counter() - start, time.thread_time() - cpu
    return Limit(count / seconds, used / count)
