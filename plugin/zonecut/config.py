"""The configuration with what plugins bring to it: read from one YAML file, `version: 1`, and checked.

Every error names the file, the key and what would be right. Each adapter brings the model of its own options.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pluggy
from pydantic import BaseModel, ValidationError

from zonecut.agent.settings import ChildSection
from zonecut.configfile import ConfigurationError, key_text, problems_of, read_document
from zonecut.configmodel import DEFAULT_PATH, DEFAULT_STORE, Configuration, ParentSection
from zonecut.plugin import Adapter
from zonecut.plugin.bootstrap import Method
from zonecut.plugin.registry import adapters, bootstrap_methods

__all__ = [
    "ChildSection",
    "Configuration",
    "DEFAULT_PATH",
    "DEFAULT_STORE",
    "Loaded",
    "ParentSection",
    "load",
    "schema",
]

_Where = tuple[str | int, ...]
Chosen = tuple[Adapter, BaseModel]
"""An adapter and its options."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that was checked, with the adapters and bootstrap methods that it names and their options."""

    path: Path
    configuration: Configuration
    backends: Mapping[bytes, Chosen] = field(default_factory=dict)
    """Of each parent zone."""
    methods: Mapping[bytes, tuple[tuple[Method, BaseModel], ...]] = field(default_factory=dict)
    """Of each parent zone: the automatic ones, in their order."""
    child_backends: Mapping[bytes, Chosen] = field(default_factory=dict)
    """Of each child zone that has one."""
    signalling: Mapping[bytes, Mapping[bytes, Chosen]] = field(default_factory=dict)
    """Of each child zone: the backends of its name servers' zones, by apex."""


def load(path: Path, manager: pluggy.PluginManager) -> Loaded:
    """Read and check the file. Raises ConfigurationError with everything that is wrong with it."""
    document = read_document(path)
    try:
        configuration = Configuration.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(path, problems_of(error, Configuration)) from None
    choice = _Choice(manager)
    backends, methods = {}, {}
    for place, parent in enumerate(configuration.parents):
        backends[parent.apex] = choice.adapter(parent.backend, ("parents", place, "backend"))
        methods[parent.apex] = choice.methods(parent.bootstrap, ("parents", place, "bootstrap"))
    child_backends, signalling = {}, {}
    for place, child in enumerate(configuration.children):
        if child.backend is not None:
            child_backends[child.apex] = choice.adapter(child.backend, ("children", place, "backend"))
        signalling[child.apex] = {
            entry.apex: choice.adapter(entry.backend, ("children", place, "signalling", number, "backend"))
            for number, entry in enumerate(child.signalling)
        }
    if choice.problems:
        raise ConfigurationError(path, choice.problems)
    return Loaded(path, configuration, backends, methods, child_backends, signalling)


class _NoOptions(BaseModel):
    """Stands for options that are wrong until that is said."""


class _Choice:
    """Finds what a configuration names among what is installed, and collects what is wrong."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self.problems: list[str] = []
        self._adapters = adapters(manager)
        self._methods = bootstrap_methods(manager)

    def adapter(self, backend: Mapping[str, Any], where: _Where) -> Chosen:
        """The adapter of a `backend`; one with empty options, and a problem, if it cannot be had."""
        options = dict(backend)
        name = options.pop("adapter")
        adapter = self._adapters.get(name)
        if adapter is None:
            known = ", ".join(sorted(self._adapters))
            self._complain((*where, "adapter"), f"there is no adapter {name!r}; installed: {known}")
            return next(iter(self._adapters.values())), _NoOptions()
        return adapter, self._options(adapter.options, options, where)

    def methods(self, entries: tuple[str | dict[str, Any], ...], where: _Where) -> tuple[tuple[Method, BaseModel], ...]:
        """The automatic methods of a `bootstrap`."""
        chosen = []
        for number, entry in enumerate(entries):
            options = {} if isinstance(entry, str) else dict(entry)
            name = entry if isinstance(entry, str) else options.pop("method", None)
            if name == "manual" and not options:
                continue
            kind = self._methods.get(str(name))
            if kind is None:
                known = ", ".join([*sorted(self._methods), "manual"])
                self._complain((*where, number), f"there is no bootstrap method {name!r}; there is {known}")
                continue
            chosen.append((kind, self._options(kind.options, options, (*where, number))))
        return tuple(chosen)

    def _options(self, model: type[BaseModel], options: dict[str, Any], where: _Where) -> BaseModel:
        try:
            return model.model_validate(options)
        except ValidationError as error:
            self.problems += problems_of(error, model, where)
            return _NoOptions()

    def _complain(self, where: _Where, problem: str) -> None:
        self.problems.append(f"{key_text(where)}: {problem}")


def schema(manager: pluggy.PluginManager) -> dict[str, Any]:
    """The JSON Schema of the file, with the options of every installed adapter."""
    document = Configuration.model_json_schema()
    choices = []
    for name, adapter in sorted(adapters(manager).items()):
        options = adapter.options.model_json_schema(ref_template=f"#/$defs/{name}-{{model}}")
        for definition, body in options.pop("$defs", {}).items():
            document["$defs"][f"{name}-{definition}"] = body
        options["properties"] = {"adapter": {"const": name}, **options.get("properties", {})}
        options["required"] = ["adapter", *options.get("required", [])]
        choices.append(options)
    for section in ("ParentSection", "ChildSection", "SignallingSection"):
        document["$defs"][section]["properties"]["backend"] = {"oneOf": choices}
    return document
