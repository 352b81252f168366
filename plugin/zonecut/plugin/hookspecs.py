"""The hooks by which adapters and other plugins take part (pluggy). Ours use the same ones as anybody's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pluggy
from pydantic import BaseModel

from zonecut.plugin.backend import Backend, BackendContext
from zonecut.plugin.bootstrap import Method

PROJECT = "zonecut"
ENTRY_POINT_GROUPS = ("zonecut.adapters", "zonecut.bootstrap_methods")
"""Entry points of these groups name modules that implement the hooks."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A kind of backend: the name that the configuration gives as `adapter`, the pydantic model of its other options
    (with `extra="forbid"`), and what makes a Backend of them. `create` does no I/O."""

    name: str
    options: type[BaseModel]
    create: Callable[[BackendContext, Any], Backend]


class Hooks:
    """The hook specifications."""

    @hookspec
    def zonecut_adapters(self) -> list[Adapter]:
        """The adapters that this plugin brings."""
        return []

    @hookspec
    def zonecut_bootstrap_methods(self) -> list[Method]:
        """The bootstrap methods that this plugin brings."""
        return []
