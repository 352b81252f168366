"""A small provisioning system that does what adapters/zonecut_webhook/README.md asks for; run as a program.

It keeps one zone in a SQLite file, and checks each request's signature with somebody else's code.
"""

import argparse
import json
import ssl
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from http_message_signatures import (
    HTTPMessageVerifier,
    HTTPSignatureAlgorithm,
    InvalidSignature,
    MappingKeyResolver,
    algorithms,
)

from lab.scripted.provisioning_zone import Answer, Zone, normal

BASE = "/zones/parent"
LARGEST = 2 * 2**20
"""Octets of a request that are read."""
WINDOW = timedelta(seconds=300)
"""How old a signature may be."""


class Message(NamedTuple):
    """A request as the library wants it."""

    method: str
    url: str
    headers: Any


class System(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, zone: Zone, key_id: str, key: bytes, certificate: tuple[str, str] | None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.zone = zone
        self.scheme = "http" if certificate is None else "https"
        algorithm: type[HTTPSignatureAlgorithm] = algorithms.HMAC_SHA256
        known: Any = key.strip()
        if key.startswith(b"-----BEGIN"):
            algorithm, known = algorithms.ED25519, load_pem_public_key(key)
        self.verifier = HTTPMessageVerifier(
            signature_algorithm=algorithm,
            key_resolver=MappingKeyResolver(public_keys={key_id: known}, private_keys={}),
        )
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60
    server: System

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        if length > LARGEST:
            self.close_connection = True
            self._send(Answer(413, {"reason": f"more than {LARGEST} octets"}))
            return
        self._answer(self.rfile.read(length))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: the journal is in the database."""

    def _answer(self, body: bytes) -> None:
        try:
            self._verify(body)
        except InvalidSignature as error:
            self._send(Answer(401, {"reason": f"the signature is no good: {error}"}))
            return
        try:
            self._send(self._route(json.loads(body) if body else {}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._send(Answer(400, {"reason": f"not understood: {error!r}"}))

    def _verify(self, body: bytes) -> None:
        url = f"{self.server.scheme}://{self.headers['Host']}{self.path}"
        covered = ["@method", "@authority", "@path", "@query"]
        if body:
            covered += ["content-digest", "content-type"]
        if "Idempotency-Key" in self.headers:
            covered.append("idempotency-key")
        self.server.verifier.verify(
            Message(self.command, url, self.headers),
            max_age=WINDOW,
            expect_tag="zonecut-webhook",
            require_components=covered,
            body=body,
        )

    def _route(self, document: dict[str, Any]) -> Answer:
        parts = urlsplit(self.path)
        zone = self.server.zone
        if zone.is_lost or (self.command == "POST" and normal(document["zone"]) != zone.name):
            return Answer(404, {"reason": f"this is {zone.name}"})
        match self.command, parts.path.removeprefix(BASE):
            case "GET", "":
                return Answer(200, {"zone": zone.name})
            case "GET", "/delegations":
                query = parse_qs(parts.query)
                return Answer(200, zone.page(query.get("cursor", [None])[0], int(query["limit"][0])))
            case "POST", "/delegations/lookup":
                return Answer(200, {"delegations": zone.look_up(document["children"])})
            case "POST", "/changes":
                changes = document["changes"]
                time.sleep(zone.delay_of(normal(change["child"]) for change in changes))
                return zone.change(self.headers["Idempotency-Key"], document["ttl"], changes)
            case "POST", "/changes/withdraw":
                time.sleep(zone.delay_of(normal(change["child"]) for change in document["changes"]))
                return zone.withdraw(document["changes"])
            case "POST", "/rrsets/lookup":
                return Answer(200, {"rrsets": zone.rrsets(document["names"])})
            case "POST", "/rrsets":
                return zone.replace_rrsets(document["before"], document["after"])
        return Answer(404, {"reason": "there is nothing here"})

    def _send(self, answer: Answer) -> None:
        body = json.dumps(answer.document).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if answer.again_in is not None:
            self.send_header("Retry-After", str(answer.again_in))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--zone", required=True)
    parser.add_argument("--key-id", default="zonecut")
    parser.add_argument("--key", type=Path, required=True, help="the shared secret, or an Ed25519 public key in PEM")
    parser.add_argument("--certificate", nargs=2, metavar=("CERTIFICATE", "KEY"))
    given = parser.parse_args()
    certificate = tuple(given.certificate) if given.certificate else None
    zone = Zone(given.database, normal(given.zone))
    System(given.port, zone, given.key_id, given.key.read_bytes(), certificate).serve_forever()


if __name__ == "__main__":
    main()
