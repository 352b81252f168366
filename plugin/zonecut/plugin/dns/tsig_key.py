"""Read the file with the TSIG key: BIND's `key` statement, as `tsig-keygen` writes it."""

import base64
import binascii
import hmac
import re
from functools import cached_property
from pathlib import Path

import dns.exception
import dns.name
import dns.tsig

from zonecut.files.privatefile import PrivateFileError, read_private

_TOKEN = re.compile(r'"([^"\n]*)"|(?:/\*.*?\*/|//[^\n]*|#[^\n]*)|([{};])|([^\s{};"]+)', re.DOTALL)

ALGORITHMS = {
    "hmac-sha1": dns.tsig.HMAC_SHA1,
    "hmac-sha224": dns.tsig.HMAC_SHA224,
    "hmac-sha256": dns.tsig.HMAC_SHA256,
    "hmac-sha384": dns.tsig.HMAC_SHA384,
    "hmac-sha512": dns.tsig.HMAC_SHA512,
}
"""The algorithms that we take, by the names that named.conf gives them (RFC 8945 section 6)."""

_HASHES = {name: words.removeprefix("hmac-") for words, name in ALGORITHMS.items()}
_SHAPE = 'key "NAME" { algorithm hmac-sha256; secret "BASE64"; };'


class TsigKey(dns.tsig.Key):
    """A TSIG key that does not show its secret in logs and tracebacks."""

    @cached_property
    def owner(self) -> bytes:
        """Its name in canonical wire form."""
        return self.name.to_digestable()

    @cached_property
    def algorithm_name(self) -> bytes:
        """The name of its algorithm in canonical wire form."""
        return self.algorithm.to_digestable()

    @property
    def mac_octets(self) -> int:
        return self._unused.digest_size

    def context(self) -> hmac.HMAC:
        """A new HMAC under its secret."""
        return self._unused.copy()

    @cached_property
    def _unused(self) -> hmac.HMAC:
        return hmac.new(self.secret, digestmod=_HASHES[self.algorithm])

    def __repr__(self) -> str:
        return f"<TSIG key {self.name} {self.algorithm}>"


class KeyFileError(Exception):
    """The key file cannot be used; the message names it and says what would be right, and holds nothing of it."""


def load_key(path: Path) -> TsigKey:
    """The one key in a file.

    Raises KeyFileError if the file cannot be read, can be read by others than its owner, or holds anything but one
    `key` statement.
    """
    try:
        content = read_private(path, "TSIG key")
    except PrivateFileError as error:
        raise KeyFileError(str(error)) from error
    try:
        return parse_key(content.decode())
    except ValueError as error:
        # `from None`: the error may quote the file, and the file holds the secret.
        reason = str(error) if not isinstance(error, UnicodeError) else "it is not text"
        raise KeyFileError(f"TSIG key {path} cannot be used: {reason}; it should hold {_SHAPE}") from None


def parse_key(text: str) -> TsigKey:
    """The key in a `key` statement. Raises ValueError, without quoting the secret."""
    tokens = _tokens(text)
    if len(tokens) < 4 or tokens[0].lower() != "key" or tokens[2] != "{" or tokens[-1] != ";":
        raise ValueError("it is not one key statement")
    name, body = tokens[1], tokens[3:-1]
    values: dict[str, str] = {}
    while len(body) >= 3 and body[2] == ";":
        word = body[0].lower()
        if word not in ("algorithm", "secret") or word in values:
            raise ValueError("a key has one algorithm and one secret, nothing else")
        values[word], body = body[1], body[3:]
    if body != ["}"]:
        raise ValueError("it is not one key statement")
    if values.keys() != {"algorithm", "secret"}:
        raise ValueError("a key needs an algorithm and a secret")
    algorithm = ALGORITHMS.get(values["algorithm"].lower().removesuffix("."))
    if algorithm is None:
        raise ValueError(f"its algorithm is none of {', '.join(ALGORITHMS)}")
    return TsigKey(_name(name), _secret(values["secret"]), algorithm)


def _tokens(text: str) -> list[str]:
    found = []
    at = 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError("it has an unfinished string")
        token = next((group for group in match.groups() if group is not None), None)
        if token is not None:
            found.append(token)
        at = match.end()
    return found


def _name(text: str) -> dns.name.Name:
    try:
        return dns.name.from_text(text)
    except dns.exception.DNSException:
        raise ValueError("the key's name is no domain name") from None


def _secret(text: str) -> bytes:
    try:
        secret = base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise ValueError("the secret is not base64") from None
    if not secret:
        raise ValueError("the secret is empty")
    return secret
