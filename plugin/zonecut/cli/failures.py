"""How a command ends when it cannot do what it was asked: clear lines on standard error and an exit code."""

from enum import IntEnum

import typer
from typer.exceptions import TyperException

from zonecut.cli.terminal import output


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    """Wrong usage or configuration."""
    DIFFERENT = 3
    """A difference was found."""
    INTERRUPTED = 130
    """What shells expect of a program that ^C ended."""


class Failure(Exception):
    """Why a command ends; each line of it is written to standard error."""

    def __init__(self, *lines: str, code: Exit = Exit.FAILED) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.code = code


class UsageFailure(Failure):
    """The command was asked for something that makes no sense."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines, code=Exit.USAGE)


def report(error: Exception, program: str) -> int | None:
    """Write what went wrong to standard error and return the exit code; None for a defect of ours."""
    if isinstance(error, typer.Abort):
        return Exit.INTERRUPTED
    if isinstance(error, TyperException):
        return _report_usage(error, program)
    failure = error if isinstance(error, Failure) else _expected(error)
    if failure is None:
        return None
    for line in failure.lines:
        # some reasons quote what a server or a library said
        output.complain(line.replace("\n", " "))
    return failure.code


def _report_usage(error: TyperException, program: str) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else program
    message = error.format_message()
    if message.lstrip().startswith("Usage:"):  # a group without a command: the message is its help
        for line in message.splitlines():
            output.complain(line)
    else:
        output.complain(f"{path}: {message} (see {path} --help)")
    return Exit.USAGE


def _expected(error: Exception) -> Failure | None:
    """The failure that an error of another part amounts to, if it is one that a user or a server can cause."""
    # imported here: most commands end well
    from zonecut.agent.zone.zone_content import SourceError
    from zonecut.configfile import ConfigurationError
    from zonecut.plugin import BackendError, BackendLater, BackendMisconfigured
    from zonecut.protocol.keys import UnusableKey
    from zonecut.serve.listening.listeners import CannotListen
    from zonecut.store import StoreError

    if isinstance(error, ConfigurationError):
        return Failure(*(f"{error.path}: {problem}" for problem in error.problems), code=Exit.USAGE)
    if isinstance(error, BackendError):
        code = Exit.USAGE if isinstance(error, BackendMisconfigured) else Exit.FAILED
        by_hand = error.by_hand.splitlines() if isinstance(error, BackendLater) else ()
        return Failure(error.reason, *by_hand, code=code)
    if isinstance(error, StoreError | UnusableKey | SourceError):
        return Failure(error.reason)
    if isinstance(error, CannotListen):
        return Failure(str(error))
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return Failure(f"{place}{error.strerror or error}")
    return None
