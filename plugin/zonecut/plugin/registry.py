"""The plugin manager: which adapters are installed."""

from collections.abc import Iterable

import pluggy

from zonecut.plugin import hookspecs
from zonecut.plugin.hookspecs import Adapter


class UnknownAdapter(Exception):
    """No installed plugin brings an adapter of that name; the message lists those there are."""


def create_manager() -> pluggy.PluginManager:
    """A plugin manager with every installed plugin that registers under the entry point group."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs.Hooks)
    manager.load_setuptools_entrypoints(hookspecs.ENTRY_POINT_GROUP)
    return manager


def adapters(manager: pluggy.PluginManager) -> dict[str, Adapter]:
    """All adapters by name. Raises ValueError when two plugins bring the same name."""
    found: dict[str, Adapter] = {}
    brought: Iterable[list[Adapter]] = manager.hook.zonecut_adapters()
    for adapter in (adapter for each in brought for adapter in each):
        if adapter.name in found:
            raise ValueError(f"two plugins bring an adapter named {adapter.name!r}")
        found[adapter.name] = adapter
    return found


def adapter(manager: pluggy.PluginManager, name: str) -> Adapter:
    """The adapter of that name. Raises UnknownAdapter."""
    found = adapters(manager)
    if name not in found:
        raise UnknownAdapter(f"there is no adapter {name!r}; installed: {', '.join(sorted(found))}")
    return found[name]
