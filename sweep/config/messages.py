"""One line for each error of Hydra, OmegaConf and YAML: the override or file at fault, what is wrong, what to do."""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import MissingConfigException
from yaml import YAMLError

from sweep.places import own_conf
from sweep.suggestions import unknown

MISSING_VALUE = re.compile(r"Missing mandatory value: .*?full_key: (?P<field>[\w.]+)", re.DOTALL)
MISSING_OPTION = re.compile(r"You must specify '(?P<field>[^']+)'.*?Available options:\s*(?P<options>.*)", re.DOTALL)
UNQUOTED = re.compile(r"LexerNoViableAltException: (?P<line>[^\n]*)")
CALL = re.compile(r"while evaluating '.*': (?P<what>[^\n]*)")
FUNCTION = re.compile(r"Unknown function '(?P<name>\w+)'\s+Available:\s*(?P<known>[\w,]+)")
EMPTY_ITEM = re.compile(r"[=\[,]\s*,|,\s*\]?$")
FULL_KEY = re.compile(r"full_key: (?P<field>\S+)")
UNLOADED = re.compile(r"(?:In '(?P<file>[^']+)': )?Could not (?:load|find) '(?P<group>[^']+)/(?P<option>[^'/]+)'")
NO_INTERPOLATION = re.compile(r"Interpolation key '(?P<key>[^']*)' not found")
NOT_THERE = re.compile(r"Could not override '(?P<field>[^']+)'")
ADDS_AGAIN = re.compile(r"Could not append to config|appears more than once|force-add of config groups")


def _unreadable(line: str, field: str) -> str:
    return f"{field} has an interpolation that cannot be read. Write the value."


Say = Callable[[str, str], str]  # from the override at fault and the field that OmegaConf names
# What a message of Hydra or OmegaConf means for the override that causes it.
KNOWN: Mapping[str, Say] = {
    "Recursive interpolation": lambda line, field: f"{field} refers to itself. Write the value.",
    "Interpolation to parent node": lambda line, field: f"{field} refers to a table that holds it. Write the value.",
    "mismatched input": _unreadable,
    "no viable alternative": _unreadable,
    "Error resolving interpolation": lambda line, field: "an option has no interpolation here. Write its name.",
    "Could not delete": lambda line, field: f"not the value that is set. Write {line.partition('=')[0]}.",
    "Error merging override": lambda line, field: "not a value that this setting takes. Correct the value.",
}


def syntax_message(line: str, error: Exception) -> str:
    """One line for an override that Hydra's grammar does not read."""
    said = str(error)
    if UNQUOTED.search(said):
        return f"{line}: has a character that must stand in quotes. Write {_quoted(line)}."
    if found := FUNCTION.search(said):
        return f"{line}: no such function {found['name']}. Known here: {', '.join(found['known'].split(','))}."
    if found := CALL.search(said):
        return f"{line}: {found['what'].rstrip('.')}. Correct the call, or quote the value."
    if "=" not in line:
        return f"{line}: has no value. Write {line}=VALUE."
    if EMPTY_ITEM.search(line):
        return f"{line}: an item of the list is empty. Remove the comma."
    return f"{line}: cannot be read. Close its quotes and brackets, or write it as {_quoted(line)}."


def message_for(error: Exception, config_directory: Path, line: str | None = None) -> str:
    """One line for an error of Hydra, OmegaConf or YAML, with the override that causes it if that is known."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        return unknown(f"{group} {option}", "option", option, error.options)
    folders = [each for each in (own_conf(), config_directory) if each is not None]
    if isinstance(error, YAMLError):
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        return f"{_place_in_yaml(error)}: not YAML: {' '.join(str(what).split())}. Correct the file."
    if isinstance(error, UnicodeDecodeError):
        files = [path for folder in folders for path in sorted(folder.rglob("*.yaml")) if not _is_text(path)]
        return f"{', '.join(map(str, files)) or 'configuration'}: not UTF-8: {error.reason}. Save it as UTF-8."
    said = _said(error)
    if ours := _missing(said):
        return ours
    place = str(_file_of(line, folders) or line or "configuration")
    if isinstance(error.__cause__, RecursionError):
        return f"{place}: its defaults list leads back to itself. Remove that entry."
    return f"{place}: {_meaning(said, line or '')}"


def _said(error: BaseException) -> str:
    """The message without empty lines and Hydra's headings."""
    lines = [each.strip() for each in str(error).splitlines() if each.strip()]
    if lines and lines[0].endswith("raised while composing config:"):
        del lines[0]
    if not lines and error.__cause__ is not None:
        return _said(error.__cause__)
    return "\n".join([*lines] or [type(error).__name__])


def _missing(said: str) -> str | None:
    if found := MISSING_OPTION.search(said):
        options = ", ".join(found["options"].split())
        return f"{found['field']}: missing. Add {found['field']}=OPTION, one of {options}."
    if found := MISSING_VALUE.search(said):
        return f"{found['field']}: missing. Add {found['field']}=VALUE."
    if found := UNLOADED.search(said):
        loader, group = GlobalHydra.instance().config_loader(), found["group"]
        place = f"{group} {found['option']}"
        if found["file"] not in (None, "config"):
            place = f"{found['file']}: {place}"
        return unknown(place, "option", found["option"], loader.get_group_options(group))
    return None


def _meaning(said: str, line: str) -> str:
    found = FULL_KEY.search(said)
    field = found["field"] if found else "it"
    if found := NO_INTERPOLATION.search(said):
        if line.startswith("~"):
            return f"{field} reads it. Leave {line} out."
        return f"{field} reads {found['key'] or 'a field'}, which does not exist. Name a field that exists."
    if ADDS_AGAIN.search(said):
        return f"{line.strip('+').partition('=')[0]} is set already. Write {line.lstrip('+')}."
    if found := NOT_THERE.search(said):
        if line.startswith("hydra"):
            return "no such Hydra setting. See --hydra-help."
        name = "" if line.startswith(found["field"]) else f"{found['field']}: "
        return f"{name}no such field there. Remove it, or set a field that exists."
    for part, say in KNOWN.items():
        if part in said:
            return say(line, field)
    return f"{said.splitlines()[0].rstrip('.:')}. Correct it."


def _file_of(line: str | None, folders: Sequence[Path]) -> Path | None:
    """The user's own file of the option that an override chooses."""
    if line is None or own_conf() is None:
        return None
    group, _, option = line.lstrip("+").partition("=")
    path = folders[0] / group.partition("@")[0] / f"{option}.yaml"
    return path if os.path.isfile(path) else None  # noqa: PTH113, which raises for a long line


def _place_in_yaml(error: YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return f"{mark.name} line {mark.line + 1}" if mark is not None else str(getattr(error, "name", "configuration"))


def _is_text(path: Path) -> bool:
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _quoted(line: str) -> str:
    """An override quoted for the shell and for Hydra's grammar; quotes each item of a list."""
    field, _, value = line.partition("=")
    if not value or set(value) & set("\"'{}"):
        return "FIELD='\"TEXT\"'"
    if value.startswith("[") and value.endswith("]"):
        value = ", ".join(f'"{each.strip()}"' for each in value[1:-1].split(","))
        return f"'{field}=[{value}]'"
    return f"'{field}=\"{value}\"'"
