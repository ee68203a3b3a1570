"""Texts that look like keys, and a diff without them. Pure: what the environment holds is sweep/secrets.py.

A line of a diff loses what looks like a key by itself (`sk-...`, `hf_...`, a private key, the password of a URL), and
what stands beside a name such as `api_key`, `token` or `password`. The rest stays, so the diff still tells what ran.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

REDACTED = "<redacted>"
KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[\w-]{16,}|(?:sk|rk|pk)_(?:live|test)_\w{10,}|hf_[A-Za-z0-9]{16,}|gsk_\w{16,}|r8_[A-Za-z0-9]{16,}"
    r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}|nvapi-[\w-]{16,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{12,}|AIza[\w-]{20,}|pypi-[\w-]{16,}|npm_[A-Za-z0-9]{16,}|wandb_v1_\w{16,}"
    r"|tgp_v1_[\w-]{16,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)
USERINFO = re.compile(r"(?<=://)[^/\s:@\"']*:[^/\s@\"']+(?=@)")
BEARER = re.compile(r"\b(?P<before>(?:Bearer|Basic)\s+)(?P<value>[\w+/=.~-]{8,})")
BLOCK_BEGINS, BLOCK_ENDS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"), re.compile(r"-----END [A-Z ]*PRIVATE KEY")
BASE64_LINE = re.compile(r"^(?P<before>[ +-]\s*)(?P<value>[A-Za-z0-9+/]{48,}={0,2})\s*$")

SURE = r"(?:api[_-]?|access[_-]?|private[_-]?|secret[_-]?|signing[_-]?|encryption[_-]?)keys?|[a-z]{0,30}apikey"
SURE += r"|secrets?|passw(?:or)?ds?|passphrases?|credentials?|pwd"
SURE += r"|(?:access|auth|refresh|bearer|api|hf|id|github)[_-]?tokens?"
MAYBE = r"token|key|auth|authorization|cookie|pat"
NAME = rf"(?P<name>(?<![\w.-])(?:[\w.-]{{0,60}}?[_.-])??(?:(?P<sure>{SURE})|(?P<maybe>{MAYBE})))"
VALUE = r"""(?P<quote>["'])(?P<quoted>(?:\\.|(?!(?P=quote)).)*)(?P=quote)?|(?P<bare>[^\s"'#,)\]}&;]+)"""
ASSIGNED = re.compile(rf"""(?P<before>{NAME}["']?\]?\s*(?::\s*str\s*)?(?:=>|:=|=|:)\s*[rbfu]?)(?:{VALUE})""", re.I)
BEFORE_BLOCK = re.compile(rf"""(?P<indent>^[ +-]?[ \t-]*)["']?{NAME}["']?\s*[:=]\s*(?:[|>][+-]?\d?|[(\\])?\s*$""", re.I)
MAPPING = re.compile(r"^[ +-]?\s*(?:-\s+)?[\w\"'.-]+\s*:(?:\s|$)")
NO_SECRET = re.compile(
    r"(?:|null|none|~|true|false|yes|no|-?\d{1,7}|\?\?\?|\$\{.*|\$\(?\w*\)?|<.*>|\{.*|\[.*|\(.*|str|\*+|[|>][+-]?\d?)",
    re.I,
)
LIKE_A_KEY = re.compile(r"(?=[^\s]*\d)(?=[^\s]*[A-Za-z])[A-Za-z0-9+/=_.~-]{16,}")
HEX = re.compile(r"[0-9a-fA-F]{32,}")


def key_in(text: str, name: str = "") -> bool:
    """Whether a value looks like a key: by its own form, or by its length where its field is named for one."""
    if any(any(letter.isdigit() for letter in found[0]) for found in KEY.finditer(text)):
        return True
    if BLOCK_BEGINS.search(text) or USERINFO.search(text):
        return True
    named = re.fullmatch(NAME, name.rpartition(".")[2], re.I)
    return named is not None and LIKE_A_KEY.fullmatch(text) is not None


@dataclass(frozen=True)
class Redacted:
    text: str
    lines: int  # that lost something


def without_keys(diff: str, hide: Callable[[str], str] = lambda line: line) -> Redacted:
    """A diff (or another text) without what looks like a key; `hide` takes out of a line what is known to be secret."""
    reader = _Reader(hide)
    lines = [(line, reader.line(line)) for line in diff.split("\n")]
    return Redacted("\n".join(after for _, after in lines), sum(before != after for before, after in lines))


@dataclass
class _Reader:
    """Line by line, as a value may stand on lines of its own."""

    hide: Callable[[str], str]
    is_python: bool = False
    is_private_key: bool = False
    value_below: int | None = None  # indented deeper than this: the value of a name above
    is_block: bool = False

    def line(self, line: str) -> str:
        if line.startswith("diff --git"):
            self.is_python = line.rstrip().endswith(".py")
        if line.startswith(("diff --git", "index ", "--- ", "+++ ", "@@ ")):
            self.is_private_key, self.value_below = False, None
        if self._is_of_private_key(line) or self._is_value_below(line):
            return _all_but_indent(line)
        if BEFORE_BLOCK.match(line):
            self.value_below, self.is_block = _depth(line), line.rstrip()[-1] in "|>+-(\\0123456789"
        return self._in_line(self.hide(line))

    def _is_of_private_key(self, line: str) -> bool:
        was = self.is_private_key
        self.is_private_key = (was or BLOCK_BEGINS.search(line) is not None) and BLOCK_ENDS.search(line) is None
        return was or self.is_private_key or BLOCK_BEGINS.search(line) is not None

    def _is_value_below(self, line: str) -> bool:
        if self.value_below is None or not line[1:].strip():
            return False
        if _depth(line) <= self.value_below or (not self.is_block and MAPPING.match(line)):
            self.value_below = None
            return False
        return True

    def _in_line(self, line: str) -> str:
        line = KEY.sub(REDACTED, line)
        line = USERINFO.sub(REDACTED, line)
        line = BEARER.sub(lambda found: f"{found['before']}{REDACTED}", line)
        line = BASE64_LINE.sub(lambda found: f"{found['before']}{REDACTED}", line)
        return ASSIGNED.sub(self._assigned, line)

    def _assigned(self, found: re.Match[str]) -> str:
        """`api_key: value`: the value goes, unless it is none, or an expression."""
        value = found["quoted"] if found["quote"] else found["bare"]
        is_expression = self.is_python and not found["quote"]
        is_secret = found["sure"] or LIKE_A_KEY.fullmatch(value) or HEX.fullmatch(value) or _is_telling(found)
        if REDACTED in value or NO_SECRET.fullmatch(value) or is_expression or not is_secret:
            return found[0]
        quote = found["quote"] or ""
        return f"{found['before']}{quote}{REDACTED}{quote}"


def _is_telling(found: re.Match[str]) -> bool:
    """`token: value` of one word: a key more often than not; `key: value` is one seldom."""
    value = found["quoted"] or found["bare"] or ""
    return (
        found["maybe"].lower() != "key" and len(value) >= 8 and re.fullmatch(r"[\w+/=.~!@#$%^&*-]+", value) is not None
    )


def _depth(line: str) -> int:
    """Characters before the first word of a line of a diff, its mark left out."""
    return len(line[1:]) - len(line[1:].lstrip())


def _all_but_indent(line: str) -> str:
    return f"{line[:1]}{' ' * _depth(line)}{REDACTED}"
