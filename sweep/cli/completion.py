"""Tab completion: scripts for bash, zsh and fish, which call `sweep -sc query=SHELL` for the candidates.

This module completes commands, options, submissions and stages; Hydra completes fields, groups and their options.
"""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from itertools import pairwise
from pathlib import Path

from sweep.cli.parser import command_of, flags_of, is_word, options_of
from sweep.cli.table import COMMANDS, Command
from sweep.config.compose import CONFIG, Entry, ask_hydra, compose_entry
from sweep.console import Console
from sweep.errors import SweepError, UsageError
from sweep.results.find import names_of
from sweep.results.roots import roots
from sweep.slurm.ownership import is_own
from sweep.slurm.submission import find_submission, submissions
from sweep.store.directory import Store
from sweep.suggestions import unknown

LINE_VARIABLE = "COMP_LINE"  # the command line up to the cursor; the name is bash's
FLAGS = ("-sc", "--shell-completion")
SCRIPTS: Mapping[str, str] = {
    "bash": r"""_sweep_complete() {
    local line=${COMP_LINE:0:COMP_POINT} IFS=$'\n' typed prefix
    typed=${line##*[[:space:]]}
    prefix=${typed%"${2#=}"} # bash splits words at `=`, and wants what follows it
    COMPREPLY=($(COMP_LINE=$line "$1" -sc query=bash 2>/dev/null))
    COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=./] ]]; then compopt -o nospace; fi
}
complete -o default -F _sweep_complete sweep
""",
    "zsh": r"""_sweep_complete() {
    local -a found
    found=("${(@f)$(COMP_LINE="${words[1,CURRENT-1]} $PREFIX" "$words[1]" -sc query=zsh 2>/dev/null)}")
    compadd -Q -S '' -a found
}
compdef _sweep_complete sweep
""",
    "fish": r"""function __sweep_complete
    env COMP_LINE=(commandline -cp | string collect) sweep -sc query=fish 2>/dev/null
end
complete -c sweep -a '(__sweep_complete)'
""",
}


def show_script(console: Console, shell: str) -> int:
    """The command `completion`: print the script of a shell. Raises UsageError for another shell."""
    if shell not in SCRIPTS:
        raise UsageError(unknown(f"completion {shell}", "shell", shell, list(SCRIPTS)))
    console.file.write(SCRIPTS[shell])
    return 0


def answer(console: Console, argv: Sequence[str]) -> bool:
    """Answer `-sc install=SHELL` and `-sc query=SHELL`; returns False if the arguments are neither."""
    asked, _, shell = next((each for each in argv if each.partition("=")[2] in SCRIPTS), "").partition("=")
    if not set(argv) & set(FLAGS) or asked not in ("install", "query"):
        return False
    if asked == "install":
        show_script(console, shell)
    else:
        console.file.write("".join(f"{each}\n" for each in candidates(os.environ.get(LINE_VARIABLE, ""))))
    return True


def candidates(line: str) -> list[str]:
    """Sorted completions of the last word of a command line that ends at the cursor."""
    words = _split(line)
    current = words.pop() if words and not line[-1].isspace() else ""
    program = next((at for at, word in enumerate(words) if Path(word).name == "sweep"), None)
    if program is None:
        return []
    try:
        found = set(_all(words[program + 1 :], current))
    except (SweepError, OSError):  # the line is wrong so far; the command itself will report it
        return []
    return sorted(each for each in found if each.startswith(current))


def _split(line: str) -> list[str]:
    """The words of a line as the shell splits it; by spaces while a quote is still open."""
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _all(words: Sequence[str], current: str) -> Iterator[str]:
    """All candidates, before filtering by what is typed."""
    if not words:
        yield from (each.name for each in COMMANDS if " " not in each.name)
        if current:  # without a first letter the fields would bury the commands
            yield from (*_fields([], current), "--help", "--version")
        return
    command, rest = command_of(words if is_word(words[0]) else ["run", *words])
    takes_value = {each.flag for each in options_of(command) if each.metavar is not None}
    if rest and rest[-1] in takes_value:
        return  # a folder or a number; the shell completes files
    if current.startswith("-"):
        yield from flags_of(command)
        return
    is_value = [False, *(each in takes_value for each in rest)]
    given = [each for each, skipped in zip(rest, is_value, strict=False) if not skipped and not each.startswith("-")]
    overrides = [each for each in given if "=" in each or each.startswith(("+", "~"))]
    if not rest:
        yield from (each.name.partition(" ")[2] for each in COMMANDS if each.name.startswith(f"{command.name} "))
    yield from _of_words(command, [each for each in given if each not in overrides], [*overrides, *_places(rest)])
    if command.is_composed:
        yield from _fields(overrides, current)
    elif command.has_fields:
        yield from ("store=", "results=")


def _places(rest: Sequence[str]) -> list[str]:
    """--store and --results as overrides."""
    return [f"{flag[2:]}={value}" for flag, value in pairwise(rest) if flag in ("--store", "--results")]


def _of_words(command: Command, given: Sequence[str], overrides: Sequence[str]) -> Iterator[str]:
    """Values of the next word, and of the word after it if the next is optional."""
    has_list = bool(command.words) and command.words[-1].is_list
    for word in command.words[len(given) :] or command.words[-1:] * has_list:
        yield from word.choices
        if find := FINDERS.get(f"{command.name} {word.name}", FINDERS.get(word.name)):
            with suppress(SweepError, OSError):  # no submission there, or none that can be read
                yield from find(given, overrides)
        if word.is_required:
            return


def _submissions(given: Sequence[str], overrides: Sequence[str]) -> Iterator[str]:
    yield from (each.name for each in submissions(_store(overrides)))


def _submission_paths(given: Sequence[str], overrides: Sequence[str]) -> Iterator[str]:
    yield from (os.path.relpath(each.path) for each in submissions(_store(overrides)))


def _stages(given: Sequence[str], overrides: Sequence[str]) -> Iterator[str]:
    """Names and addresses of the stages of the given or newest submission."""
    directory = find_submission(_store(overrides), given[0] if given else None, is_own)
    for job in directory.read().jobs:
        for element in job.elements:
            for address in element.stages:
                yield from (address, address.partition("/")[0])


def _results(given: Sequence[str], overrides: Sequence[str]) -> Iterator[str]:
    for root in roots(Store(_store(overrides)))[0]:
        yield f"{root.result.manifest.experiment}/{root.result.path.name}"


def _named_results(given: Sequence[str], overrides: Sequence[str]) -> Iterator[str]:
    """NAME and NAME/KEY of the results that are not named yet."""
    entry = _entry(overrides)
    yield from (each for each in names_of(entry.results, roots(Store(entry.store))[0]) if each not in given)


def _store(overrides: Sequence[str]) -> Path:
    return _entry(overrides).store


def _entry(overrides: Sequence[str]) -> Entry:
    return compose_entry([each for each in overrides if each.partition("=")[0] in ("store", "results")])


EXPERIMENT = "+experiment"
FINDERS: Mapping[str, Callable[[Sequence[str], Sequence[str]], Iterator[str]]] = {
    "submission": _submissions,
    "publish submission": _submission_paths,
    "stage": _stages,
    "result": _results,
    "show result": _named_results,
    "results": _named_results,
    "shell": lambda _given, _overrides: iter(SCRIPTS),
}


def _fields(overrides: Sequence[str], current: str) -> list[str]:
    """Completions from Hydra: fields, groups, and the options of a group."""
    if re.fullmatch(r"\w+=\[?[^=]*,[^,]*", current):  # the next value of a list
        head, comma, last = current.rpartition(",")
        field = current.partition("=")[0]
        return [f"{head}{comma}{each.partition('=')[2]}" for each in _fields(overrides, f"{field}={last}")]
    os.environ[LINE_VARIABLE] = " ".join(["sweep", *(each for each in overrides if " " not in each), current])
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(io.StringIO()):
            ask_hydra(["-sc", "query=bash"])
    except SystemExit:  # an override before it is wrong
        return []
    found = [f"{each}=" if each == EXPERIMENT else each for each in said.getvalue().split()]
    return [*found, *_experiments_in_folders()] if current.startswith(f"{EXPERIMENT}=") else found


def _experiments_in_folders() -> list[str]:
    """Experiments such as paper/fig1_scaling, which Hydra does not complete."""
    folders = [folder for folder in (CONFIG / "experiment").iterdir() if folder.is_dir()]
    return [f"{EXPERIMENT}={folder.name}/{file.stem}" for folder in folders for file in sorted(folder.glob("*.yaml"))]
