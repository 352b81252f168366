"""Small DNS servers on loopback, made with dnspython: an authority for a whole tree, and a resolver over it.

For the demo on a machine without any server, and to play broken and hostile servers in tests. Never a stand-in for a
real server in a test that is about one, and never reachable from outside: addresses outside loopback are refused.
"""

from zonecut.demo.loopback import faults
from zonecut.demo.loopback.authority import Asked, LoopbackAuthority
from zonecut.demo.loopback.exchange import Exchange, Fault, Transport
from zonecut.demo.loopback.resolver import LoopbackResolver
from zonecut.demo.loopback.server import LoopbackServer
from zonecut.demo.loopback.zone import LoopbackZone

__all__ = [
    "Asked",
    "Exchange",
    "Fault",
    "LoopbackAuthority",
    "LoopbackResolver",
    "LoopbackServer",
    "LoopbackZone",
    "Transport",
    "faults",
]
