"""BIND key files: `K<name>+<algorithm>+<tag>.key` and `.private`, as `dnssec-keygen` and `nsupdate -k` use them.

Printing and parsing are functions of text; only `read_public`, `read_pair` and `write_pair` touch the disk.
ML-DSA keys are written in the same style, with the 32-octet seed of FIPS 204 as the private key.
"""

import os
from base64 import b64encode
from binascii import a2b_base64
from contextlib import ExitStack, suppress
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa

from zonecut.files.keytimes import Ended, ended
from zonecut.files.regularfile import open_regular
from zonecut.protocol import names
from zonecut.protocol.algorithms import ECDSA_CURVES, PrivateKey
from zonecut.protocol.codepoints import Algorithm, CodePoints
from zonecut.protocol.keys import Key, KeyPair, UnusableKey, algorithm_text, check_usable

_FORMAT = "v1.3"
_RSA_FIELDS = (
    "Modulus",
    "PublicExponent",
    "PrivateExponent",
    "Prime1",
    "Prime2",
    "Exponent1",
    "Exponent2",
    "Coefficient",
)
_FILE_NAME_OCTETS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
_MAX_FILE = 1 << 18  # octets; the largest KEY record takes less than half of it


def file_stem(key: Key) -> str:
    """The name that `dnssec-keygen` gives the files of this key, without `.key` or `.private`."""
    return f"K{name_in_files(key.owner)}.+{key.algorithm:03d}+{key.tag:05d}"


def name_in_files(name: bytes) -> str:
    """A lower-case wire-form name as part of a file's name, without its final dot.

    Octets other than letters, digits, hyphen and underscore are `%` and two hexadecimal digits.
    """
    return ".".join(
        "".join(chr(octet) if octet in _FILE_NAME_OCTETS else f"%{octet:02X}" for octet in label)
        for label in names.labels(name)
    )


def private_text(pair: KeyPair, codepoints: CodePoints) -> str:
    """The content of the `.private` file. Without the timing lines of `dnssec-keygen`: they govern DNSKEYs only."""
    lines = [
        f"Private-key-format: {_FORMAT}",
        f"Algorithm: {pair.key.algorithm} ({algorithm_text(pair.key.algorithm, codepoints)})",
    ]
    lines += [f"{name}: {b64encode(octets).decode()}" for name, octets in _private_fields(pair.private).items()]
    return "\n".join(lines) + "\n"


def _private_fields(private: PrivateKey) -> dict[str, bytes]:
    if isinstance(private, rsa.RSAPrivateKey):
        secret = private.private_numbers()
        public = secret.public_numbers
        values = (public.n, public.e, secret.d, secret.p, secret.q, secret.dmp1, secret.dmq1, secret.iqmp)
        return {
            name: value.to_bytes((value.bit_length() + 7) // 8) for name, value in zip(_RSA_FIELDS, values, strict=True)
        }
    if isinstance(private, ec.EllipticCurvePrivateKey):  # RFC 6605 section 6: of fixed length
        return {"PrivateKey": private.private_numbers().private_value.to_bytes(private.curve.key_size // 8)}
    return {"PrivateKey": private.private_bytes_raw()}


def parse_pair(key: Key, text: str, codepoints: CodePoints) -> KeyPair:
    """The pair of a public key and the content of its `.private` file.

    Raises UnusableKey when the key is unusable, the text is no such file, or the two do not belong together. No
    message repeats anything of the private part.
    """
    check_usable(key, codepoints)
    subject = f"private key of {names.to_text(key.owner)} with key tag {key.tag}"
    fields = _fields(text, subject)
    if not fields.get("Private-key-format", "").startswith("v1."):
        raise UnusableKey(f"{subject}: Private-key-format is not v1.x")
    if fields.get("Algorithm", "").partition(" ")[0] != str(key.algorithm):
        raise UnusableKey(f"{subject}: Algorithm is not {key.algorithm}, which the public key has")
    try:
        return KeyPair(key, _private_key(key.algorithm, fields, codepoints))
    except KeyError as error:
        raise UnusableKey(f"{subject}: the file has no field {error.args[0]}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey(f"{subject}: the private part is damaged") from None


def _fields(text: str, subject: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(";"):
            continue
        name, colon, value = line.partition(":")
        if not colon or name.strip() in fields:
            raise UnusableKey(f"{subject}: line {number} is not a new field and its value")
        fields[name.strip()] = value.strip()
    return fields


def _private_key(algorithm: int, fields: dict[str, str], codepoints: CodePoints) -> PrivateKey:
    if algorithm in (Algorithm.RSASHA256, Algorithm.RSASHA512):
        n, e, d, p, q, dmp1, dmq1, iqmp = (
            int.from_bytes(a2b_base64(fields[name], strict_mode=True)) for name in _RSA_FIELDS
        )
        return rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, rsa.RSAPublicNumbers(e, n)).private_key()
    octets = a2b_base64(fields["PrivateKey"], strict_mode=True)
    if algorithm in ECDSA_CURVES:  # older BIND leaves out leading zeros
        return ec.derive_private_key(int.from_bytes(octets), ECDSA_CURVES[algorithm])
    if algorithm == Algorithm.ED25519:
        return ed25519.Ed25519PrivateKey.from_private_bytes(octets)
    if algorithm == Algorithm.ED448:
        return ed448.Ed448PrivateKey.from_private_bytes(octets)
    seeded: dict[int, type[mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey]] = {
        codepoints.ml_dsa_44: mldsa.MLDSA44PrivateKey,
        codepoints.ml_dsa_65: mldsa.MLDSA65PrivateKey,
        codepoints.ml_dsa_87: mldsa.MLDSA87PrivateKey,
    }
    return seeded[algorithm].from_seed_bytes(octets)


def read_public(path: Path) -> Key:
    """The key in a `.key` file. Raises UnusableKey, naming the file, and OSError."""
    try:
        return Key.from_text(_read(path, secret=False))
    except UnusableKey as error:
        raise UnusableKey(f"{path}: {error.reason}") from None


def read_pair(path: Path, codepoints: CodePoints) -> KeyPair:
    """The pair of which `path` is either file, or the name without its ending.

    Raises UnusableKey, naming the file, when the key is unusable, the files do not belong together, or group or
    others may touch the private one; OSError when a file cannot be read.
    """
    stem = path.name.removesuffix(".key").removesuffix(".private").removesuffix(".")
    key = read_public(path.with_name(stem + ".key"))
    private_path = path.with_name(stem + ".private")
    try:
        return parse_pair(key, _read(private_path, secret=True), codepoints)
    except UnusableKey as error:
        raise UnusableKey(f"{private_path}: {error.reason}") from None


def read_ended(path: Path, now: float) -> Ended | None:
    """The time in the files of a key, of which `path` is either, after which it is not to be used, if it has passed.

    A file that is not there, or cannot be read, says nothing.
    """
    found = []
    for each in (path.with_suffix(".key"), path.with_suffix(".private")):
        with suppress(OSError, UnusableKey):
            found.append(ended(_read(each, secret=False), now))
    return min((each for each in found if each is not None), key=lambda each: each.at, default=None)


def _read(path: Path, *, secret: bool) -> str:
    with open_regular(path) as file:
        # Asked of the open file, not of the name: the two may part between the question and the reading.
        mode = os.fstat(file.fileno()).st_mode
        if secret and mode & 0o077:
            raise UnusableKey(f"group or others may touch this private key (mode {mode & 0o777:o}): chmod 600 {path}")
        content = file.read(_MAX_FILE + 1)
    if len(content) > _MAX_FILE:
        raise UnusableKey(f"larger than {_MAX_FILE} octets, which no key file is")
    return content.decode(errors="replace")


def write_pair(directory: Path, pair: KeyPair, codepoints: CodePoints, ttl: int | None = None) -> Path:
    """Writes both files into an existing directory, for good (fsync), and returns the path of the `.key` file.

    `ttl`, in seconds, goes into the KEY record. Raises FileExistsError when there is a file of that name (another key
    with the same tag) and OSError; then neither file is left behind. The `.key` file comes last: while it is
    missing, nothing takes the `.private` file of a write that was cut off for a key.
    """
    stem = file_stem(pair.key)
    path = directory / f"{stem}.key"
    if path.exists():
        raise FileExistsError(f"{path} exists: another key of this name has the same tag; make a new one")
    with ExitStack() as undo:
        for target, text, mode in (
            (directory / f"{stem}.private", private_text(pair, codepoints), 0o600),
            (path, pair.key.to_text(ttl) + "\n", 0o644),
        ):
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            undo.callback(target.unlink, missing_ok=True)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        _sync_directory(directory)
        undo.pop_all()
    return path


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
