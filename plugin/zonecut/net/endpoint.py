"""An address and a port, as the configuration writes them wherever a DNS server is meant."""

from ipaddress import ip_address
from typing import NamedTuple


class Endpoint(NamedTuple):
    """An IP address and a port. No host name: where we listen, ask and write is nothing for a look-up to decide."""

    address: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """From `192.0.2.1:53` or `[2001:db8::1]:53`. Raises ValueError."""
        host, _, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        try:
            address = ip_address(host[1:-1] if bracketed else host)
            if bracketed != (address.version == 6) or not (port.isascii() and port.isdigit()):
                raise ValueError
            if not 0 < int(port) < 65536:
                raise ValueError
        except ValueError:
            raise ValueError(f"{text!r}: an address with a port, as 192.0.2.1:53 or [2001:db8::1]:53") from None
        return cls(str(address), int(port))

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"
