"""Parses a command's words and options as its table entry declares them, and writes the --help pages.

Words, options and FIELD=VALUE may come in any order. An argument with `=` is a field unless it names a file.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill, wrap
from typing import NoReturn, cast

from sweep.cli.table import COMMANDS, COMMON, DEBUG, HYDRA_FLAGS, LIMITED, PLACES, Command, Group, Option
from sweep.errors import UsageError
from sweep.suggestions import nearest, unknown

MULTIRUN = ("-m", "--multirun")
HELP_FLAGS = ("-h", "--help")
HYDRA_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
HELP_COLUMNS = 80
STATUS_INDENT = 7
INDENT = 18  # of the text column of a page
PLAIN = re.compile(r"[\w./+-]+", re.ASCII)  # text that Hydra reads literally
EXIT_STATUSES = """\
exit status:
  0    done
  1    {failure}
  2    the command line is wrong: unknown command or option, or a missing word{further}
  130  interrupted by Ctrl-C, SIGTERM or the end of the terminal"""
ABOUT_FIELDS = """\
fields:
  FIELD=VALUE       set a field, or choose an option of a group (model=qwen3_8b)
  FIELD=A,B -m      one point for each value; several such lists make a grid
  +experiment=NAME  choose an experiment of conf/experiment
  The error for an unknown FIELD or option lists all known ones.
  Quote characters of the shell: 'budget.continuation="\\nWait"'.
  Hydra composes the fields. Its own flags work with `run` and `plan`:
  --cfg job (print the configuration), --info defaults-tree, --hydra-help."""


class Parser(argparse.ArgumentParser):
    """argparse, but errors raise UsageError."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}. See {self.prog} --help.")


def is_word(argument: str) -> bool:
    """Whether an argument is neither a flag nor an override."""
    return argument[:1].isalpha() and "=" not in argument


def command_of(argv: Sequence[str]) -> tuple[Command, Sequence[str]]:
    """The command that the first words name, and the remaining arguments. Raises UsageError if there is none."""
    by_name = {each.name: each for each in COMMANDS}
    if len(argv) > 1 and (command := by_name.get(f"{argv[0]} {argv[1]}")):
        return command, argv[2:]
    if argv[0] not in by_name:
        names = [each for each in by_name if " " not in each]
        complaint = unknown(argv[0], "command", argv[0], names)
        raise UsageError(f"{complaint} A field is set with {argv[0]}=VALUE.")
    return by_name[argv[0]], argv[1:]


def options_of(command: Command) -> tuple[Option, ...]:
    """The command's own options and the common ones."""
    return (*command.options, *(COMMON if command.has_fields else ()), DEBUG)


def flags_of(command: Command) -> list[str]:
    """Every flag that the command takes."""
    multirun = MULTIRUN if command.is_composed else ()
    hydra = HYDRA_FLAGS if command.asks_hydra else ()
    return [*(each.flag for each in options_of(command)), *multirun, *hydra, *HELP_FLAGS]


def read(command: Command, argv: Sequence[str]) -> dict[str, object]:
    """The arguments of the command's function. Raises UsageError."""
    return _values(command, _parsed(command, _parser(command), argv))


def read_for_hydra(command: Command, argv: Sequence[str]) -> list[str]:
    """The arguments for Hydra, of a command line with a flag that Hydra answers. Raises UsageError."""
    parser = _parser(command)
    parser.add_argument("-c", "--cfg", choices=("job", "hydra", "all"))
    parser.add_argument("-i", "--info", nargs="?", const="all", choices=HYDRA_INFO)
    parser.add_argument("-p", "--package")
    for flags in (("--resolve",), ("--hydra-help",), ("-sc", "--shell-completion")):
        parser.add_argument(*flags, action="store_true")
    given = _parsed(command, parser, argv)
    if given.shell_completion:
        raise UsageError("-sc: no such shell. Write -sc query=SHELL or -sc install=SHELL, of bash, fish, zsh.")
    asked = [f"--{name}" for name in ("cfg", "info") if getattr(given, name) is not None]
    asked += ["--hydra-help"] if given.hydra_help else []
    if len(asked) + given.multirun > 1:
        flags = " ".join([*asked, *(["-m"] if given.multirun else [])])
        raise UsageError(f"{flags}: Hydra answers one flag, for one point. Give one of these flags at a time.")
    if given.cfg is None and (given.resolve or given.package is not None):
        raise UsageError(f"{'--resolve' if given.resolve else '--package'}: belongs to --cfg. Add --cfg job.")
    answers = [f"{flag}={getattr(given, flag[2:])}" for flag in asked if flag != "--hydra-help"]
    answers += ["--hydra-help"] if given.hydra_help else []
    answers += ["--resolve"] if given.resolve else []
    answers += [f"--package={given.package}"] if given.package is not None else []
    return [*answers, *cast(list[str], _values(command, given)["overrides"])]  # of a command with fields


def _parsed(command: Command, parser: Parser, argv: Sequence[str]) -> argparse.Namespace:
    given, extras = parser.parse_known_intermixed_args(list(argv))
    for each in extras:
        flag = each.partition("=")[0]
        raise UsageError(unknown(f"{command.name}: {flag}", "option", flag, flags_of(command)))
    return given


def _values(command: Command, given: argparse.Namespace) -> dict[str, object]:
    arguments = [each for each in given.arguments if each != "--"]
    fields = [each for each in arguments if _is_field(each)]
    _refuse_old_names(command, fields)
    _refuse_fields_of_points(command, fields)
    values = _words(command, [each for each in arguments if not _is_field(each)])
    for option in options_of(command):
        value = getattr(given, option.name)
        if option.within is not None:
            cast(dict[str, object], values.setdefault(option.within, {}))[option.name] = value
        elif option.field is None and option is not DEBUG:
            values[option.name] = value
        elif option.field is not None and value not in (None, False):
            fields.append(_override(option.field, "true" if value is True else value))
    if command.has_fields:
        values["overrides"] = [*fields, *(["-m"] if command.is_composed and given.multirun else [])]
    return values


def _parser(command: Command) -> Parser:
    parser = Parser(
        prog=f"sweep {command.name}",
        usage=_usage(command),
        description=_description(command),
        epilog=_epilog(command),
        formatter_class=_Page,
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    group = parser.add_argument_group("options")
    if command.is_composed:
        group.add_argument(*MULTIRUN, action="store_true", help="run every combination of the values given")
    for option in options_of(command):
        if option.metavar is None:
            group.add_argument(option.flag, action="store_true", dest=option.name, help=option.help)
        else:
            group.add_argument(
                option.flag,
                metavar=option.metavar,
                type=option.read,
                default=option.default,
                dest=option.name,
                help=option.help + (f" (default: {option.default})" if option.default is not None else ""),
            )
    group.add_argument(*HELP_FLAGS, action="store_true", help="print this page")
    return parser


def _words(command: Command, given: Sequence[str]) -> dict[str, object]:
    """Words by name, None if left out. Raises UsageError for too many or too few."""
    further = [
        each.name.removeprefix(f"{command.name} ") for each in COMMANDS if each.name.startswith(f"{command.name} ")
    ]
    if given and further:
        name = f"{command.name} {given[0]}"
        raise UsageError(unknown(name, "command", given[0], further, prefix=f"{command.name} "))
    has_list = bool(command.words) and command.words[-1].is_list
    if len(given) > len(command.words) and not has_list:
        takes = " ".join(each.metavar for each in command.words) or "no words"
        raise UsageError(
            f"{command.name}: {given[len(command.words)]!r} is one word too many; it takes {takes}."
            f" See sweep {command.name} --help."
        )
    for word in command.words[len(given) :]:
        if word.is_required:
            raise UsageError(f"{command.name}: {word.metavar} is missing ({word.help}). Example: {command.example}")
    for word, value in zip(command.words, given, strict=False):
        if word.choices and value not in word.choices:
            raise UsageError(unknown(f"{command.name} {value}", word.name, value, list(word.choices)))
    return {
        word.name: list(given[at:]) if word.is_list else given[at] if at < len(given) else None
        for at, word in enumerate(command.words)
    }


def _is_field(argument: str) -> bool:
    return argument.startswith(("+", "~")) or ("=" in argument and not _is_file(argument))


def _is_file(argument: str) -> bool:
    try:
        return Path(argument).exists()
    except OSError:  # a long value is longer than a name may be
        return False


def _refuse_fields_of_points(command: Command, fields: Sequence[str]) -> None:
    """Raises UsageError for a field of points or of another command, which would have no effect."""
    for field in fields if command.has_fields and not command.is_composed else ():
        name = field.partition("=")[0]
        if nearest(name, PLACES) and name not in PLACES:
            raise UsageError(unknown(f"{command.name} {field}", "field", name, PLACES))
        if name not in PLACES:
            raise UsageError(f"{command.name} {field}: without effect, this command composes no points. Leave it out.")


def _refuse_old_names(command: Command, fields: Sequence[str]) -> None:
    for field in fields:
        name, _, value = field.partition("=")
        for option in command.options:
            if name in option.old_names:
                now = option.flag if option.metavar is None else f"{option.flag} {value or option.metavar}"
                raise UsageError(f"{command.name}: {field} is now an option. Write {now}.")
    if fields and not command.has_fields:
        raise UsageError(f"{command.name}: {fields[0]}: it takes no fields. See sweep {command.name} --help.")


def _override(field: str, value: object) -> str:
    """An override that sets a field to a text, quoted if Hydra would not read it literally."""
    text = str(value)
    if not PLAIN.fullmatch(text):
        ending = len(text) - len(text.rstrip("\\"))
        text = "'" + text.replace("'", "\\'") + "\\" * ending + "'"
    return f"{field}={text}"


def overview() -> str:
    """The text of `sweep --help`."""
    lines = [
        "usage: sweep [run] [FIELD=VALUE ...] [-m]",
        "       sweep COMMAND [WORD ...] [FIELD=VALUE ...] [OPTION ...]",
        "",
        "Runs test-time-scaling experiments: from a configuration to a scaling curve,",
        "here or on SLURM. `python -m sweep` is the same command.",
    ]
    for group in Group:
        lines += ["", f"{group.value}:"]
        lines += [_row(each.name, each.summary) for each in COMMANDS if each.group is group]
    flags = [
        ("-h, --help", "print this page; sweep COMMAND --help prints that of a command"),
        ("--version", "print the version"),
    ]
    lines += ["", "options:", *(_row(*each) for each in flags), _row(DEBUG.flag, DEBUG.help)]
    failure = "failed; stderr says why"
    worker = "  75   only from a worker in a batch job: interrupted, the job is requeued"
    lines += ["", ABOUT_FIELDS, "", _exit_statuses(failure, [LIMITED]), worker, "", "example:"]
    return "\n".join([*lines, "  sweep run +experiment=smoke -m"]) + "\n"


def page(command: Command) -> str:
    """The text of `sweep COMMAND --help`."""
    return _parser(command).format_help()


class _Page(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=INDENT, width=HELP_COLUMNS)


def _usage(command: Command) -> str:
    words = [
        f"{each.metavar if each.is_required else f'[{each.metavar}]'}{' ...' if each.is_list else ''}"
        for each in command.words
    ]
    fields = ["[FIELD=VALUE ...]"] if command.has_fields else []
    multirun = ["[-m]"] if command.is_composed else []
    return " ".join(["sweep", command.name, *words, *fields, *multirun, "[OPTION ...]"])


def _description(command: Command) -> str:
    words = [_row(each.metavar, each.help) for each in command.words]
    return "\n".join(
        [fill(" ".join(command.description.split()), HELP_COLUMNS), *(["", "words:", *words] if words else [])]
    )


def _epilog(command: Command) -> str:
    if command.is_composed:
        fields = [ABOUT_FIELDS, ""]
    else:
        fields = ["fields: store=DIR and results=DIR, as in `sweep run`", ""] if command.has_fields else []
    return "\n".join(
        [*fields, _exit_statuses(command.failure, command.further_statuses), "", "example:", f"  {command.example}"]
    )


def _row(name: str, text: str) -> str:
    """A name and its wrapped text, laid out as argparse does."""
    first, *more = wrap(text, HELP_COLUMNS - INDENT)
    return "\n".join([f"  {name:<{INDENT - 3}} {first}", *(" " * INDENT + line for line in more)])


def _exit_statuses(failure: str, further: Sequence[tuple[int, str]] = ()) -> str:
    lines = wrap(failure, HELP_COLUMNS - STATUS_INDENT)
    return EXIT_STATUSES.format(
        failure=("\n" + " " * STATUS_INDENT).join(lines),
        further="".join(f"\n  {status:<4} {meaning}" for status, meaning in further),
    )
