"""Rewrite frequent errors of Hydra and OmegaConf: the field, what is wrong, and what to type."""

from __future__ import annotations

import re

MISSING_VALUE = re.compile(r"Missing mandatory value: .*?full_key: (?P<field>[\w.]+)", re.DOTALL)
MISSING_OPTION = re.compile(r"You must specify '(?P<field>[^']+)'.*?Available options:\s*(?P<options>.*)", re.DOTALL)
UNQUOTED = re.compile(r"LexerNoViableAltException: (?P<line>[^\n]*)")


def plain_message(message: str) -> str | None:
    """One line for a known error message; None for any other."""
    if found := MISSING_OPTION.search(message):
        options = ", ".join(found["options"].split())
        return f"{found['field']}: missing. Add {found['field']}=OPTION, one of {options}."
    if found := MISSING_VALUE.search(message):
        return f"{found['field']}: missing. Add {found['field']}=VALUE."
    if found := UNQUOTED.match(message):
        line = found["line"].strip()
        return f"{line}: has a character that must stand in quotes. Write {quoted(line)}."
    return None


def quoted(line: str) -> str:
    """An override quoted for the shell and for Hydra's grammar; quotes each item of a list."""
    field, _, value = line.partition("=")
    if not value or set(value) & set("\"'{}"):
        return "FIELD='\"TEXT\"'"
    if value.startswith("[") and value.endswith("]"):
        value = ", ".join(f'"{each.strip()}"' for each in value[1:-1].split(","))
        return f"'{field}=[{value}]'"
    return f"'{field}=\"{value}\"'"
