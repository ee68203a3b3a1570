"""The command line: finds the command in the table, calls its function, and is the only place that catches errors.

To add a command, add an entry to COMMANDS in sweep/cli/table.py. Its function takes the console, and the command's
words, options and overrides by name; it returns the exit status, and raises SweepError for errors that a user can fix.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress

from sweep.cli.parser import command_of, is_word, overview, page, read, read_for_hydra
from sweep.cli.table import HYDRA_FLAGS, Command
from sweep.console import Console, escape
from sweep.core.interrupt import EXIT_INTERRUPTED
from sweep.core.provenance import version
from sweep.errors import SweepError
from sweep.places import DISTRIBUTION
from sweep.store.permission import explained

DEBUG_VARIABLE = "SWEEP_DEBUG"
HELP = ("-h", "--help")


def main(argv: Sequence[str]) -> int:
    """Run one command line and return its exit status. Prints errors to stderr, one line each, without traceback."""
    _escape_unencodable()
    console = Console()
    try:
        status = perform(argv, console)
        print(end="", flush=True)  # here, where an error of stdout is explained; Python would do it at its exit
        return status
    except KeyboardInterrupt:
        with suppress(OSError):  # after a hang-up the terminal is gone
            console.errors.print("interrupted: finished stages are kept. Run the same command to continue.")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `sweep status | head`: the reader closed the pipe
        _discard_output()
        return 1
    except Exception as error:  # of any kind: users see a traceback only with --debug
        with suppress(OSError):  # the terminal may be gone
            is_debugged = "--debug" in argv or os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0")
            _show(error, console.errors, is_debugged)
        try:
            print(end="", flush=True)
        except OSError:
            _discard_output()
        return error.exit_status if isinstance(error, SweepError) else 1


def _discard_output() -> None:
    """Drop what stdout still holds, so that Python does not fail again to write it at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _escape_unencodable() -> None:
    """Print characters that the terminal's encoding lacks as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def perform(argv: Sequence[str], console: Console) -> int:
    """Run one command line and return its exit status. Lets all exceptions through."""
    if not argv or not is_word(argv[0]):
        if not argv or any(each in HELP for each in argv):
            print(overview(), end="")
            return 0
        if "--version" in argv:
            print(f"{DISTRIBUTION} {version()}")
            return 0
        argv = ["run", *argv]
    command, rest = command_of(argv)
    if any(each in HELP for each in rest):
        print(page(command), end="")
        return 0
    if command.asks_hydra and any(each.partition("=")[0] in HYDRA_FLAGS for each in rest):
        return _ask_hydra(console, command, rest)
    return _function(command)(console, **read(command, rest))


def _function(command: Command) -> Callable[..., int]:
    """Import the command's function, only now, so that --help, --version and completion stay fast."""
    module, _, name = command.function.partition(":")
    return getattr(importlib.import_module(module), name)


def _ask_hydra(console: Console, command: Command, argv: Sequence[str]) -> int:
    """Answer a completion, or let Hydra answer a flag such as --cfg job."""
    from sweep.cli.completion import answer
    from sweep.config.compose import ask_hydra

    if not answer(console, argv):
        ask_hydra(read_for_hydra(command, argv))
    return 0


def _show(error: Exception, console: Console, is_debugged: bool) -> None:
    if is_debugged:
        console.print(escape("".join(traceback.format_exception(error))), soft_wrap=True)
    if isinstance(error, SweepError):
        message = str(error)
    elif isinstance(error, OSError):
        message = explained(error)
    else:
        line = " ".join(str(error).split())
        message = (
            f"{type(error).__name__}: {line}. This is a bug in {DISTRIBUTION}, not in your command: please report it."
            f" For the traceback, run the same command with --debug or {DEBUG_VARIABLE}=1."
        )
    console.print(f"[red]error[/red] {escape(message)}", soft_wrap=True)
