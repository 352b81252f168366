"""Signatures of requests against the examples of RFC 9421 and RFC 9530, and against somebody else's verifier."""

import base64
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from http_message_signatures import HTTPMessageVerifier, InvalidSignature, MappingKeyResolver, algorithms

from zonecut.files.privatefile import PrivateFileError
from zonecut_webhook.signing import (
    PrivateKey,
    Request,
    SharedSecret,
    SigningKey,
    content_digest,
    load_key,
    signature_base,
    signature_headers,
)

BODY = b'{"hello": "world"}'
REQUEST = Request(
    "POST",
    "Registry.example:8443",
    "/zonecut/parent.example/changes?a=%2F&b",
    {"content-type": "application/json", "content-digest": content_digest(BODY), "Idempotency-Key": '"abc"', "X": "y"},
)
PRIVATE = ed25519.Ed25519PrivateKey.generate()


def test_a_digest_is_that_of_the_rfc() -> None:
    """RFC 9530 appendix B.1 (the same body with its line end), and RFC 9421 appendix B.2."""
    assert content_digest(BODY + b"\n") == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    assert content_digest(BODY) == "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"


def test_a_shared_secret_signs_as_in_the_rfc() -> None:
    """RFC 9421 appendix B.2.5."""
    secret = base64.b64decode(
        "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
    )
    base = signature_base(
        [
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("@authority", "example.com"),
            ("content-type", "application/json"),
        ],
        '("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"',
    )
    signature = base64.b64encode(SharedSecret(secret).sign(base)).decode()
    assert signature == "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8="


def test_an_ed25519_key_signs_as_in_the_rfc() -> None:
    """RFC 9421 appendix B.2.6."""
    key = load_der_private_key(
        base64.b64decode("MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF"), None
    )
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    base = signature_base(
        [
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("@method", "POST"),
            ("@path", "/foo"),
            ("@authority", "example.com"),
            ("content-type", "application/json"),
            ("content-length", "18"),
        ],
        '("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473'
        ';keyid="test-key-ed25519"',
    )
    signature = base64.b64encode(PrivateKey(key).sign(base)).decode()
    assert signature == "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="


def verified(key: SigningKey, **altered: str) -> None:
    """Have a signature verified by the library, after something of the request was altered."""
    headers = dict(REQUEST.headers) | signature_headers(REQUEST, key, "k1", int(time.time()))
    body = altered.pop("body", BODY.decode()).encode()
    url = altered.pop("url", f"https://registry.example:8443{REQUEST.target}")
    message = SimpleNamespace(method=altered.pop("method", "POST"), url=url, headers={**headers, **altered})
    if isinstance(key, SharedSecret):
        verifier = HTTPMessageVerifier(
            signature_algorithm=algorithms.HMAC_SHA256,
            key_resolver=MappingKeyResolver(public_keys={"k1": b"s" * 32}, private_keys={}),
        )
    else:
        verifier = HTTPMessageVerifier(
            signature_algorithm=algorithms.ED25519,
            key_resolver=MappingKeyResolver(public_keys={"k1": PRIVATE.public_key()}, private_keys={}),
        )
    verifier.verify(
        message,
        expect_tag="zonecut-webhook",
        body=body,
        require_components=("@method", "@authority", "@path", "@query", "content-type", "idempotency-key"),
    )


@pytest.mark.parametrize("key", [SharedSecret(b"s" * 32), PrivateKey(PRIVATE)], ids=["secret", "ed25519"])
def test_somebody_elses_code_finds_our_signatures_right(key: SigningKey) -> None:
    verified(key)


@pytest.mark.parametrize(
    "altered",
    [
        {"method": "PUT"},
        {"url": "https://registry.example/zonecut/parent.example/changes?a=%2F&b"},
        {"url": "https://registry.example:8443/zonecut/other.example/changes?a=%2F&b"},
        {"url": "https://registry.example:8443/zonecut/parent.example/changes?a=%2F&c"},
        {"body": "{}"},
        {"Idempotency-Key": '"abd"'},
        {"content-type": "text/plain"},
    ],
)
def test_whatever_is_altered_makes_it_wrong(altered: dict[str, str]) -> None:
    with pytest.raises(InvalidSignature):
        verified(SharedSecret(b"s" * 32), **altered)


def test_another_secret_makes_it_wrong() -> None:
    with pytest.raises(InvalidSignature):
        verified(SharedSecret(b"t" * 32))


def written(directory: Path, content: bytes, mode: int = 0o600) -> Path:
    file = directory / "webhook.key"
    file.write_bytes(content)
    file.chmod(mode)
    return file


def test_a_file_holds_a_secret_or_a_private_key(tmp_path: Path) -> None:
    secret = load_key(written(tmp_path, b"s" * 32 + b"\n"))
    assert secret.sign(b"x") == SharedSecret(b"s" * 32).sign(b"x")
    pem = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert load_key(written(tmp_path, pem)).sign(b"x") == PRIVATE.sign(b"x")
    assert (repr(secret), "sss" in repr(secret)) == ("<hmac-sha256 key>", False)


def test_any_other_file_is_refused_and_not_quoted(tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    locked = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    for content in (b"short", b"two words " * 10, b"-----BEGIN PRIVATE KEY-----\nQUJD\n", other, locked):
        with pytest.raises(PrivateFileError, match=r"webhook\.key") as refused:
            load_key(written(tmp_path, content))
        assert content.split()[0].decode() not in str(refused.value)
    with pytest.raises(PrivateFileError, match="chmod 600"):
        load_key(written(tmp_path, b"s" * 32, 0o640))
