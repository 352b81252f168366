"""One message over UDP, and the first answer that is one; over TCP where that is cut short (RFC 7766 section 5)."""

from collections.abc import Callable

from zonecut.agent.exchange.response import Response
from zonecut.agent.exchange.stream import NoAnswer, error_text, over_tcp
from zonecut.net.endpoint import Endpoint
from zonecut.protocol.errors import MalformedMessage
from zonecut.resolve.transport import over_udp as exchange


async def over_udp(wire: bytes, address: Endpoint, read: Callable[[bytes], Response]) -> Response:
    """Send a datagram; what `read` makes of the first one that comes back for which it does not raise MalformedMessage.

    Waits without end. Raises NoAnswer.
    """
    found: list[Response] = []

    def is_answer(datagram: bytes) -> bool:
        try:
            found.append(read(datagram))
        except MalformedMessage:
            return False
        return True

    try:
        await exchange(wire, address.address, address.port, None, is_answer)
    except OSError as error:
        # an ICMP message is anybody's word, and a server that starts comes back
        raise NoAnswer(error_text(error), sent=True) from None
    if found[0].truncated:
        return await over_tcp(wire, address, read)
    return found[0]
