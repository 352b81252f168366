"""The plugin manager: which adapters are installed."""

from collections.abc import Iterable

import pluggy

from zonecut.plugin import hookspecs
from zonecut.plugin.bootstrap import Method
from zonecut.plugin.hookspecs import Adapter


def create_manager() -> pluggy.PluginManager:
    """A plugin manager with every installed plugin that registers under one of the entry point groups."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs.Hooks)
    for group in hookspecs.ENTRY_POINT_GROUPS:
        manager.load_setuptools_entrypoints(group)
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


def bootstrap_methods(manager: pluggy.PluginManager) -> dict[str, Method]:
    """All bootstrap methods by name. Raises ValueError when two plugins bring the same name."""
    found: dict[str, Method] = {}
    brought: Iterable[list[Method]] = manager.hook.zonecut_bootstrap_methods()
    for method in (method for each in brought for method in each):
        if method.name in found:
            raise ValueError(f"two plugins bring a bootstrap method named {method.name!r}")
        found[method.name] = method
    return found
