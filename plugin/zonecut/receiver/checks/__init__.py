"""What needs a look-up before a change is believed: each check off, a warning or a condition (RFC 7344, 7477, 9975).

Before the change is recorded (`enforce`) or after it (`warn`), `runner` has `ds_continuity` and `ns_consistency` look
at every address of every resulting name server; `survey` is how they go about it, again and again until the time limit.
Only the settings are here at once: a receiver that checks nothing needs none of the rest, nor the look-ups behind it.
"""

from zonecut.receiver.checks.settings import CheckSettings, Mode

__all__ = ["CheckSettings", "Mode"]
