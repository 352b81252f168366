"""`zonecut change approve`: an operator lets a change that is held go to the server."""

from zonecut.cli.change import decision as change_decision
from zonecut.cli.change.decision import NumberArgument
from zonecut.cli.options import ConfigOption, JsonOption, ReasonOption


def command(
    number: NumberArgument, reason: ReasonOption = "", config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Let a change that is held go to the server.

    It is judged again on what the server holds then: the key that signed it must still be trusted, and policy and
    checks count as for a new one. A daemon that runs does so within a second, else the next one that is started.
    What you approve is the difference that change show tells: if the delegation is another by then, so that something
    else would be removed or added, nothing is written, and the change is held again with the reason.

    Example: zonecut change approve 12 --reason "asked by telephone"
    """
    change_decision.run(number, reason, config, as_json, approves=True)
