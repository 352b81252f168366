"""Groups of commands, each a module that is imported when the command is asked for: so that each starts fast."""

import ast
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib import import_module
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command


class _Commands(MutableMapping[str, Any]):
    """The commands of a group by their names, in the order of its help."""

    def __init__(self, modules: Mapping[str, str], first: str, made: Mapping[str, Any]) -> None:
        self._modules = modules
        self._first = first
        self._made = dict(made)

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            import_module(self._first)
            self._made[name] = _made(name, import_module(self._modules[name]).command)
        return self._made[name]

    def described(self) -> dict[str, Any]:
        """What a list of commands says of each, for which none is imported: a command that does nothing."""
        listed = {name: _made(name, _nothing, _help(module)) for name, module in self._modules.items()}
        return listed | self._made

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"the command {name} is there for good")

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys((*self._modules, *self._made))

    def __len__(self) -> int:
        return len({*self._modules, *self._made})


def _made(name: str, function: Callable[..., Any], text: str | None = None) -> Any:
    program = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    program.command(name, help=text)(function)
    return get_command(program)


def _nothing() -> None: ...


def _help(module: str) -> str | None:
    """The docstring of a module's function `command`, read off its source."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    functions = ast.parse(Path(spec.origin).read_bytes()).body
    named = (each for each in functions if isinstance(each, ast.FunctionDef) and each.name == "command")
    return ast.get_docstring(next(named))


class LazyGroup(TyperGroup):
    """A group of commands, each the function `command` of a module."""

    modules: ClassVar[Mapping[str, str]] = {}
    """The modules by the names of the commands."""
    first: ClassVar[str]
    """The module that is imported before any of them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._lazy = _Commands(self.modules, self.first, self.commands)
        self.commands = self._lazy

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands in the help of the group."""
        self.commands = self._lazy.described()
        super().format_commands(ctx, formatter)
        self.commands = self._lazy


def group_of(package: str, *names: str, first: str) -> type[LazyGroup]:
    """The kind of group that has these commands, each a module of the package.

    The module of `check-config` is `check_config`, and that of `import`, a word of Python's, `import_`. `first`
    is imported before any of them.
    """
    words = {name: name.replace("-", "_") for name in names}
    modules = {name: f"{package}.{word}_" if iskeyword(word) else f"{package}.{word}" for name, word in words.items()}
    return type("Group", (LazyGroup,), {"modules": modules, "first": first})
