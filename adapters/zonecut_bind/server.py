"""The server that an adapter talks DNS with."""

from dataclasses import dataclass

from zonecut.plugin.dns.tsig_key import TsigKey
from zonecut_bind.dialect import Dialect


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, the key and the patience (seconds an answer) with which we talk to it, and what kind it is.

    Without a key nothing is signed, and no answer has to be.
    """

    host: str
    port: int
    key: TsigKey | None
    timeout: float
    dialect: Dialect
    transfer_timeout: float
    """For how many seconds a transfer may stand still."""

    @property
    def key_name(self) -> str:
        """The key's name, quoted as in named.conf but for its final dot."""
        return "none" if self.key is None else str(self.key.name).removesuffix(".")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.dialect.name} at {host}:{self.port}"
