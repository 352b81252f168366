"""Certificates for loopback."""

from pathlib import Path

from lab.process import find_command, run


def self_signed(directory: Path) -> tuple[Path, Path]:
    """The files of a key and of its certificate for 127.0.0.1."""
    key, certificate = directory / "tls.key", directory / "tls.pem"
    argv = [find_command("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    argv += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=loopback", "-days", "2"]
    run([*argv, "-addext", "subjectAltName=IP:127.0.0.1"])
    return key, certificate
