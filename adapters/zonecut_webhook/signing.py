"""Signatures of requests: HTTP Message Signatures (RFC 9421) with a Content-Digest (RFC 9530). Pure but for the key.

Signed are the method, the host, the path with its query, and where there is a body its digest, its type and the
idempotency key; with the time, from which the receiving side bounds how long a captured request is of use.
"""

import base64
import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from zonecut.files.privatefile import PrivateFileError, read_private, read_word

LABEL = "zonecut"
TAG = "zonecut-webhook"
"""The parameter `tag` (RFC 9421 section 2.3): the signature is for this use and no other."""

_SHORTEST_SECRET = 32
_COVERED_HEADERS = ("content-digest", "content-type", "idempotency-key")


class SigningKey(ABC):
    """A key with its algorithm's name (RFC 9421 section 6.2.2). Does not show itself in logs and tracebacks."""

    algorithm: str

    @abstractmethod
    def sign(self, base: bytes) -> bytes: ...

    def __repr__(self) -> str:
        return f"<{self.algorithm} key>"


class SharedSecret(SigningKey):
    """HMAC with SHA-256 (section 3.3.3)."""

    algorithm = "hmac-sha256"

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, base: bytes) -> bytes:
        return hmac.digest(self._secret, base, "sha256")


class PrivateKey(SigningKey):
    """Ed25519 (section 3.3.6)."""

    algorithm = "ed25519"

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, base: bytes) -> bytes:
        return self._key.sign(base)


def load_key(path: Path) -> SigningKey:
    """The key in a file: PEM of an Ed25519 private key, or else one word, whose characters are the secret.

    Raises PrivateFileError.
    """
    what = "signing key"
    content = read_private(path, what)
    if not content.lstrip().startswith(b"-----BEGIN"):
        return SharedSecret(read_word(path, what, _SHORTEST_SECRET).encode())
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # `from None`: the error may quote the file, and the file holds the secret
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise PrivateFileError(
            f"{what} {path} cannot be used: it should hold an Ed25519 private key in PEM without a passphrase, as"
            " `openssl genpkey -algorithm ed25519` writes it"
        ) from None
    return PrivateKey(key)


class Request(NamedTuple):
    """What of a request is signed: `authority` as in its Host field, `target` as it stands in the request line."""

    method: str
    authority: str
    target: str
    headers: Mapping[str, str]


def content_digest(body: bytes) -> str:
    """The value of Content-Digest (RFC 9530 section 2)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def signature_base(components: Sequence[tuple[str, str]], parameters: str) -> bytes:
    """What is signed (RFC 9421 section 2.5); `parameters` is the value of @signature-params."""
    lines = [f'"{name}": {value}' for name, value in components]
    return "\n".join([*lines, f'"@signature-params": {parameters}']).encode("ascii")


def signature_headers(request: Request, key: SigningKey, key_id: str, created: int) -> dict[str, str]:
    """The fields Signature-Input and Signature of a request; `created` in seconds since the epoch."""
    path, _, query = request.target.partition("?")
    headers = {name.lower(): value.strip() for name, value in request.headers.items()}
    # RFC 9421 section 2.2: the derived components
    components = [
        ("@method", request.method),
        ("@authority", request.authority.lower()),
        ("@path", path),
        ("@query", f"?{query}"),
        *((name, headers[name]) for name in _COVERED_HEADERS if name in headers),
    ]
    names = " ".join(f'"{name}"' for name, _ in components)
    parameters = f'({names});created={created};keyid="{key_id}";alg="{key.algorithm}";tag="{TAG}"'
    signature = base64.b64encode(key.sign(signature_base(components, parameters))).decode()
    return {"Signature-Input": f"{LABEL}={parameters}", "Signature": f"{LABEL}=:{signature}:"}
