r"""Decodes escapes in values typed in double quotes. Hydra's grammar would keep `\n` as a backslash and an n.

'budget.continuation="\n\nWait"'     double quotes: \n is a new line, \t a tab, \\ a backslash, \" a quote;
                                     every other backslash is itself, as in "\boxed{}"
"budget.continuation='\n'"           single quotes, and text without quotes: a backslash is itself, as in Hydra

The same holds for everything that Hydra's grammar parses: axes, `also` lines, and `hydra.sweeper.params` in an
experiment file. Values in YAML have YAML's escapes only. `\text`, `\neq` and similar in double quotes are refused,
because they may mean TeX, or a tab or new line before a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.grammar.gen.OverrideLexer import InputStream, OverrideLexer

from sweep.errors import InputError

ESCAPE = re.compile(r'\\([nt\\"])')
MEANING = {"n": "\n", "t": "\t", "\\": "\\", '"': '"'}
NAMES = {"n": "a new line", "t": "a tab"}
TEX = (
    *("nabla", "ne", "nearrow", "neg", "neq", "newline", "nexists", "ngeq", "nleq", "nmid", "not", "notin", "nu"),
    *("tan", "tanh", "tau", "tbinom", "text", "textbf", "textit", "textrm", "texttt", "tfrac", "therefore", "theta"),
    *("tilde", "times", "to", "top", "triangle"),
)
AMBIGUOUS = re.compile(rf"\\\\|\\(?P<command>{'|'.join(sorted(TEX, key=len, reverse=True))})(?![A-Za-z])")


def decoded(line: str) -> str:
    """An override with the escapes in its double quotes turned into characters, quoted for Hydra's grammar.

    Raises InputError where an escape may be meant as TeX.
    """
    if "\\" not in line:
        return line
    return _with_quoted(line, lambda quoted: _requoted(_unescaped(quoted, line)) if quoted[0] == '"' else quoted)


def on_one_line(line: str) -> str:
    """An override with the new lines in its quotes written as escapes; it decodes to the same value."""
    if "\n" not in line:
        return line
    written = _with_quoted(line, _escaped)
    try:
        is_same = decoded(written) == _with_quoted(decoded(line), _in_double_quotes)
    except InputError:  # a new line before what could be TeX
        return line
    return written if is_same else line


def _with_quoted(line: str, change: Callable[[str], str]) -> str:
    """Apply `change` to each quoted value, including its quotes, as found by Hydra's own lexer."""
    lexer = OverrideLexer(InputStream(line))
    lexer.removeErrorListeners()  # the parser reports the same errors better
    parts: list[str] = []
    end = 0
    for token in lexer.getAllTokens():
        if token.type == OverrideLexer.QUOTED_VALUE:
            parts += [line[end : token.start], change(token.text)]
            end = token.stop + 1
    return "".join([*parts, line[end:]])


def _unescaped(quoted: str, line: str) -> str:
    for found in AMBIGUOUS.finditer(quoted):
        if command := found["command"]:
            raise InputError(
                f"{line}: \\{command} in double quotes may be TeX, or {NAMES[command[0]]} before {command[1:]!r}."
                f" Write \\\\{command} for TeX, or type {NAMES[command[0]]} itself."
            )
    return ESCAPE.sub(lambda escape: MEANING[escape[1]], quoted[1:-1])


def _requoted(text: str) -> str:
    return QuotedString(text, Quote.double).with_quotes()


def _text(quoted: str) -> str:
    """Unquote as Hydra's grammar does: it unescapes only quotes, and backslashes before one or at the end."""
    mark = quoted[0]
    return re.sub(rf"(\\+)({mark}|\Z)", lambda run: run[1][: len(run[1]) // 2] + run[2], quoted[1:-1])


def _in_double_quotes(quoted: str) -> str:
    return _requoted(_text(quoted)) if "\n" in quoted else quoted


def _escaped(quoted: str) -> str:
    """The same value in double quotes, without new lines."""
    if "\n" not in quoted:
        return quoted
    text = _unescaped(quoted, quoted) if quoted[0] == '"' else _text(quoted)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
