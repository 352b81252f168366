"""What an algorithm number stands for: how its public keys are written, loaded and used. Knows no KEY record.

RFC 3110 and 5702 (RSA), RFC 6605 (ECDSA), RFC 8080 (EdDSA); for ML-DSA the octets of FIPS 204.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from zonecut.protocol.codepoints import Algorithm, CodePoints

_RSA_BITS = range(2048, 4096 + 1)

# Padding, hash and curve objects hold no state: one of each serves every signature.
_RSA_PADDING = padding.PKCS1v15()
_RSA_HASHES: dict[int, hashes.HashAlgorithm] = {
    Algorithm.RSASHA256: hashes.SHA256(),
    Algorithm.RSASHA512: hashes.SHA512(),
}
ECDSA_CURVES: dict[int, ec.EllipticCurve] = {
    Algorithm.ECDSAP256SHA256: ec.SECP256R1(),
    Algorithm.ECDSAP384SHA384: ec.SECP384R1(),
}
_ECDSA_SCHEMES = {
    Algorithm.ECDSAP256SHA256: ec.ECDSA(hashes.SHA256()),
    Algorithm.ECDSAP384SHA384: ec.ECDSA(hashes.SHA384()),
}


class Verifier(Protocol):
    """Tells whether `signature`, in DNS form, is this key's over `data`. True only if it verified; raises nothing."""

    def __call__(self, signature: bytes, data: bytes) -> bool: ...


_RawPublicKey: TypeAlias = (
    ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey
)
RawPrivateKey: TypeAlias = (
    ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)
"""Private keys whose public and private part are each one string of octets."""

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | RawPrivateKey


class Suite(Protocol):
    """What one algorithm number stands for."""

    @property
    def mnemonic(self) -> str: ...

    def load(self, octets: bytes) -> Verifier:
        """The verifier for the public key field. Raises ValueError naming the rule, without owner and key tag."""
        ...

    def check(self, octets: bytes) -> None:
        """What a key that is taken in must also pass, too slow for every `load`. Raises ValueError like it."""
        ...

    def generate(self, rsa_bits: int) -> PrivateKey: ...


class _Rsa:
    def __init__(self, algorithm: Algorithm) -> None:
        self.mnemonic = algorithm.name
        self._hash = _RSA_HASHES[algorithm]

    def load(self, octets: bytes) -> Verifier:
        # RFC 3110 section 2: the exponent's length, the exponent, the modulus; leading zeros are prohibited.
        if not octets or octets[0] == 0:
            raise ValueError("the RSA exponent is 2^32 or larger")
        start = 1 + octets[0]
        exponent = int.from_bytes(octets[1:start])
        modulus = int.from_bytes(octets[start:])
        if octets[1:2] == b"\0" or octets[start : start + 1] == b"\0":
            raise ValueError("the RSA exponent or modulus has leading zeros")
        if exponent >= 1 << 32:
            raise ValueError("the RSA exponent is 2^32 or larger")
        if exponent < 3 or exponent % 2 == 0:
            raise ValueError(f"the RSA exponent is {exponent}, not an odd number from 3 up")
        if modulus.bit_length() not in _RSA_BITS:
            raise ValueError(
                f"the RSA modulus has {modulus.bit_length()} bits, not {_RSA_BITS.start} to {_RSA_BITS.stop - 1}"
            )
        if modulus % 2 == 0:
            raise ValueError("the RSA modulus is even")
        verify = rsa.RSAPublicNumbers(exponent, modulus).public_key().verify
        scheme, digest = _RSA_PADDING, self._hash

        def verified(signature: bytes, data: bytes) -> bool:
            try:
                verify(signature, data, scheme, digest)
            except (InvalidSignature, ValueError):
                return False
            return True

        return verified

    def check(self, octets: bytes) -> None:
        pass

    def generate(self, rsa_bits: int) -> PrivateKey:
        if rsa_bits not in _RSA_BITS:
            raise ValueError(f"an RSA key has {_RSA_BITS.start} to {_RSA_BITS.stop - 1} bits, not {rsa_bits}")
        return rsa.generate_private_key(65537, rsa_bits)


class _Ecdsa:
    def __init__(self, algorithm: Algorithm) -> None:
        self.mnemonic = algorithm.name
        self._scheme = _ECDSA_SCHEMES[algorithm]
        self._curve = ECDSA_CURVES[algorithm]

    def load(self, octets: bytes) -> Verifier:
        size = self._curve.key_size // 8
        _require_size(self.mnemonic, octets, 2 * size)
        try:  # RFC 6605 section 4: x | y, which SEC 1 writes with a 4 in front
            verify = ec.EllipticCurvePublicKey.from_encoded_point(self._curve, b"\x04" + octets).verify
        except ValueError:
            raise ValueError(f"the {self.mnemonic} public key is no point on the curve") from None
        scheme, encode, number = self._scheme, encode_dss_signature, int.from_bytes

        def verified(signature: bytes, data: bytes) -> bool:
            if len(signature) != 2 * size:
                return False
            try:
                verify(encode(number(signature[:size]), number(signature[size:])), data, scheme)
            except (InvalidSignature, ValueError):
                return False
            return True

        return verified

    def check(self, octets: bytes) -> None:
        pass  # loading has found the point on its curve

    def generate(self, rsa_bits: int) -> PrivateKey:
        return ec.generate_private_key(self._curve)


@dataclass(frozen=True, slots=True)
class _Edwards:
    """The curve a*x^2 + y^2 = 1 + d*x^2*y^2 over the integers modulo p (RFC 7748)."""

    p: int
    a: int
    d: int
    small_orders: frozenset[int]
    """The y of all points whose order divides the cofactor: 8 of Ed25519, 4 of Ed448."""

    def check_order(self, octets: bytes) -> int:
        """Returns y; raises ValueError if `octets` encode a point of small order: with it, anybody can sign."""
        y = int.from_bytes(octets, "little") & ~(1 << (8 * len(octets) - 1))
        if y >= self.p:
            raise ValueError("no point on the curve")
        if y in self.small_orders:
            raise ValueError("a point of small order, for which anybody can sign")
        return y

    def check_point(self, octets: bytes) -> None:
        """Raises ValueError unless `octets` encode a point (RFC 8032 sections 5.1.3 and 5.2.3) of large order.

        OpenSSL loads anything, and then verifies nothing for what is no point.
        """
        y = self.check_order(octets)
        # x^2 = u / v, which is a square if and only if u * v is one (Euler's criterion).
        u, v = 1 - y * y, self.a - self.d * y * y
        if pow(u * v, (self.p - 1) // 2, self.p) != 1:
            raise ValueError("no point on the curve")


_P25519 = (1 << 255) - 19
# The y of the points of order 8, up to its sign.
_Y8 = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
_ED25519 = _Edwards(
    _P25519, -1, -121665 * pow(121666, -1, _P25519) % _P25519, frozenset({0, 1, _P25519 - 1, _Y8, _P25519 - _Y8})
)
_P448 = (1 << 448) - (1 << 224) - 1
_ED448 = _Edwards(_P448, 1, -39081, frozenset({0, 1, _P448 - 1}))


@dataclass(frozen=True)
class _Raw:
    """Algorithms whose public keys and signatures are octets that go through as they are."""

    mnemonic: str
    size: int
    public: type[_RawPublicKey]
    private: type[RawPrivateKey]
    curve: _Edwards | None = None

    def load(self, octets: bytes) -> Verifier:
        _require_size(self.mnemonic, octets, self.size)
        if self.curve is not None:
            try:
                self.curve.check_order(octets)
            except ValueError as error:
                raise ValueError(f"the {self.mnemonic} public key is {error}") from None
        verify = self.public.from_public_bytes(octets).verify

        def verified(signature: bytes, data: bytes) -> bool:
            try:
                verify(signature, data)
            except (InvalidSignature, ValueError):
                return False
            return True

        return verified

    def check(self, octets: bytes) -> None:
        if self.curve is not None:
            try:
                self.curve.check_point(octets)
            except ValueError as error:
                raise ValueError(f"the {self.mnemonic} public key is {error}") from None

    def generate(self, rsa_bits: int) -> PrivateKey:
        return self.private.generate()


def _require_size(mnemonic: str, octets: bytes, size: int) -> None:
    if len(octets) != size:
        raise ValueError(f"the {mnemonic} public key has {len(octets)} octets, not {size}")


@lru_cache(maxsize=16)
def suites(codepoints: CodePoints) -> Mapping[int, Suite]:
    """The supported algorithms by number."""
    return {
        Algorithm.RSASHA256: _Rsa(Algorithm.RSASHA256),
        Algorithm.RSASHA512: _Rsa(Algorithm.RSASHA512),
        Algorithm.ECDSAP256SHA256: _Ecdsa(Algorithm.ECDSAP256SHA256),
        Algorithm.ECDSAP384SHA384: _Ecdsa(Algorithm.ECDSAP384SHA384),
        Algorithm.ED25519: _Raw("ED25519", 32, ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey, _ED25519),
        Algorithm.ED448: _Raw("ED448", 57, ed448.Ed448PublicKey, ed448.Ed448PrivateKey, _ED448),
        codepoints.ml_dsa_44: _Raw("ML-DSA-44", 1312, mldsa.MLDSA44PublicKey, mldsa.MLDSA44PrivateKey),
        codepoints.ml_dsa_65: _Raw("ML-DSA-65", 1952, mldsa.MLDSA65PublicKey, mldsa.MLDSA65PrivateKey),
        codepoints.ml_dsa_87: _Raw("ML-DSA-87", 2592, mldsa.MLDSA87PublicKey, mldsa.MLDSA87PrivateKey),
    }


def algorithm_text(number: int, codepoints: CodePoints) -> str:
    """The mnemonic of an algorithm as `dnssec-keygen` prints it, or the number where it is none of ours."""
    suite = suites(codepoints).get(number)
    return str(number) if suite is None else suite.mnemonic


def algorithm_number(text: str, codepoints: CodePoints) -> int:
    """The number of a supported algorithm, from its mnemonic in any case or its number. Raises ValueError."""
    wanted = text.strip().upper().replace("-", "")
    for number, suite in suites(codepoints).items():
        if wanted in (str(number), suite.mnemonic.replace("-", "")):
            return number
    there_is = ", ".join(f"{suite.mnemonic} ({number})" for number, suite in suites(codepoints).items())
    raise ValueError(f"{text!r} is no supported algorithm; there is {there_is}")


def public_octets(private: PrivateKey) -> bytes:
    """The public key field of the KEY record that belongs to a private key."""
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = private.public_key().public_numbers()
        exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8)
        return bytes([len(exponent)]) + exponent + numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
    return private.public_key().public_bytes_raw()


def sign(private: PrivateKey, algorithm: int, data: bytes) -> bytes:
    """The signature over `data` in DNS form."""
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(data, _RSA_PADDING, _RSA_HASHES[algorithm])
    if isinstance(private, ec.EllipticCurvePrivateKey):
        size = private.curve.key_size // 8
        r, s = decode_dss_signature(private.sign(data, _ECDSA_SCHEMES[Algorithm(algorithm)]))
        return r.to_bytes(size) + s.to_bytes(size)
    return private.sign(data)
