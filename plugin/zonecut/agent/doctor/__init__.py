"""What an examination of a child zone means: findings with a severity each, why they matter and what to do. Pure.

`vantage` judges what this machine can tell at all; `delegation` what the parent hands out, the child's servers and
whether they agree; `dnssec` the chain of trust; `announcement` DSYNC and the receivers; `keys` the child's KEY records
and what each bootstrap method would find.
"""

from zonecut.agent.doctor.announcement import judge_announcement, judge_receiver
from zonecut.agent.doctor.delegation import judge_parent, judge_servers
from zonecut.agent.doctor.dnssec import judge_dnssec
from zonecut.agent.doctor.findings import Finding, Report, Section, Severity
from zonecut.agent.doctor.keys import Prospect, judge_keys, judge_methods, prospects
from zonecut.agent.doctor.observation import Examination
from zonecut.agent.doctor.sync import judge_sync
from zonecut.agent.doctor.vantage import judge_vantage, without_blame

__all__ = ["Finding", "Prospect", "Report", "Section", "Severity", "diagnose", "prospects"]


def diagnose(seen: Examination) -> Report:
    """The report on what was seen."""
    if not seen.can_validate:
        seen = without_blame(seen)
    return Report(
        (
            judge_vantage(seen),
            judge_parent(seen),
            judge_servers(seen),
            judge_sync(seen),
            judge_dnssec(seen),
            judge_announcement(seen),
            *(judge_receiver(seen, view) for view in seen.receivers),
            judge_keys(seen),
            judge_methods(seen),
        )
    )
