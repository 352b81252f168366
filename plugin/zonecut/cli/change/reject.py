"""`zonecut change reject`: an operator says no to a change that is held, or that waits for the server."""

from zonecut.cli.change import decision as change_decision
from zonecut.cli.change.decision import NumberArgument
from zonecut.cli.options import ConfigOption, JsonOption, ReasonOption


def command(
    number: NumberArgument, reason: ReasonOption = "", config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Reject a change that is held, or that waits for the server.

    One that is held has failed from then on. One that waits fails as soon as it is known that the server does not have
    it. The child is told the reason when it sends the same message again.

    Example: zonecut change reject 12 --reason "nobody there knows of it"
    """
    change_decision.run(number, reason, config, as_json, approves=False)
