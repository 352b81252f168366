"""The bootstrap methods that come with zonecut; they register by the same hook as anybody's."""

from zonecut.plugin.bootstrap import Method
from zonecut.plugin.hookspecs import hookimpl
from zonecut.receiver.keys.methods.at_apex import AtApex, AtApexOptions
from zonecut.receiver.keys.methods.at_ns import AtNs, AtNsOptions
from zonecut.receiver.keys.methods.unsigned import Unsigned, UnsignedOptions

METHODS = (
    Method("at-apex", AtApexOptions, AtApex),
    Method("at-ns", AtNsOptions, AtNs),
    Method("unsigned", UnsignedOptions, Unsigned),
)


@hookimpl
def zonecut_bootstrap_methods() -> list[Method]:
    """at-apex, at-ns and unsigned. `manual` is no method that looks: an operator decides."""
    return list(METHODS)
