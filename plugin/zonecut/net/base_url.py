"""The address of an HTTP interface, as the configuration writes it."""

from urllib.parse import urlsplit


def check_base_url(value: str, example: str) -> str:
    """An http or https URL below which an interface stands, without its final slash. Raises ValueError.

    No query, and no name and password: what is secret stands in a file.
    """
    parts = urlsplit(value)
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none
        usable = False
    if not usable or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{value!r} is no address of an HTTP interface, such as {example}")
    return value.rstrip("/")
