"""Recognize texts that look like API keys, and redact them in a diff. Only sweep/secrets.py reads the environment.

Redacts texts with the form of a key (`sk-...`, `hf_...`, a private key, the password in a URL), and values next to a
name such as `api_key`, `token` or `password`. The rest of the diff stays, so it still shows what ran.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

REDACTED = "<redacted>"
RUN = r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{16,}"  # letters and digits mixed unlike any word or date
KEY = re.compile(
    rf"(?<![A-Za-z0-9])(?:sk-(?=[\w-]*?{RUN})[\w-]+|(?:sk|rk|pk)_(?:live|test)_\w{{10,}}"
    r"|hf_[A-Za-z0-9]{30,40}(?![A-Za-z0-9])|gsk_[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{37}(?![A-Za-z0-9])"
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|xox[a-z]-\d[\w-]{10,}|nvapi-[\w-]{30,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])|AIza[\w-]{30,}|npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"
    rf"|pypi-(?=[\w-]*?{RUN})[\w-]{{40,}}|wandb_v1_\w{{30,}}|tgp_v1_[\w-]{{30,}}|eyJ[\w-]{{8,}}\.eyJ[\w-]{{8,}}\.[\w-]*"
    r"|hooks\.slack\.com/\w+/[\w/-]{16,}|discord(?:app)?\.com/api/webhooks/[\w/-]{16,})"
)
USERINFO = re.compile(
    r"(?<=://)(?:[^/\s:@\"']*:[^/\s@\"']+|(?=[^/\s:@\"']*\d)[^/\s:@\"']{8,})(?=@)"  # name:password, or only a token
)
BEARER = re.compile(r"\b(?P<before>(?:Bearer|Basic)\s+)(?P<value>[\w+/=.~-]{8,})")
WANDB, WANDB_KEY = re.compile("wandb", re.I), re.compile(r"\b[0-9a-f]{40}\b")
BLOCK_BEGINS, BLOCK_ENDS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"), re.compile(r"-----END [A-Z ]*PRIVATE KEY")
BASE64_LINE = re.compile(r"^(?P<before>[ +-]\s*)(?P<value>[A-Za-z0-9+/]{48,}={0,2})\s*$")

SURE = (
    r"(?:api|access|account|private|secret|signing|encryption)[_-]?keys?|[a-z]{0,30}(?:api|access|account)keys?"
    r"|secrets?|passw(?:or)?ds?|passphrases?|passcodes?|credentials?|pwd"
    r"|(?:access|auth|refresh|bearer|api|hf|id|github)[_-]?tokens?"
)
MAYBE = r"tokens?|keys?|auth|authorization|cookie|pat|pass|pw|bearer"
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
IN_A_KEY_FIELD = re.compile(
    rf"(?=[^/]|/[^/]{{16}})(?:[\w+/=.~-]*?(?<![A-Za-z0-9]){RUN}[\w+/=.~-]*"  # no path begins with such a long name
    r"|(?=[A-Za-z0-9]*\d)(?=[A-Za-z0-9]*[a-z])(?=[A-Za-z0-9]*[A-Z])[A-Za-z0-9]{12,}"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)

FLOW = re.compile(rf"""(?P<before>{NAME}["']?\s*[:=]\s*)(?P<value>\[[^]]+\]|\{{[^}}]+\}})""", re.I)
SURE_IN_CODE = re.compile(
    rf"(?<![A-Za-z])(?:[A-Za-z]+[_-])*(?!(?:secrets?|pwd)\.)(?:{SURE}|authorization)(?![A-Za-z])|(?-i:\b[A-Z0-9_]*_(?:KEYS?|TOKEN|PASS|PW)\b)",
    re.I,
)
MAYBE_IN_CODE = re.compile(rf"(?<![A-Za-z])(?:{MAYBE})(?<!tokens)(?![A-Za-z])", re.I)
LITERAL = re.compile(r"""(?P<quote>\"{3}|'{3}|"|')(?P<text>(?:\\.|(?!(?P=quote)).)*)(?P<end>(?P=quote))?""")
NAME_OR_OPTION = re.compile(r"-{0,2}[A-Za-z]+(?:[_-][A-Za-z]+)*")  # name of a variable, field or option
KEY_WORD = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[\w+/=.~!@#$%^&*-]{8,}")
PLAIN_KEY = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])(?![0-9a-f]{1,16}$)[A-Za-z0-9+/~!@#$%^&*-]{8,}")
IS_VALUE = re.compile(r"[=(,\[{:]\s*[rbfuRBFU]{0,2}$")  # before a string that is not a docstring
MOST_LINES = 20  # of a continued statement


def key_in(text: str, name: str = "") -> bool:
    """Whether a value looks like a key: by its form, or by its length if its field has the name of a secret."""
    if any(any(letter.isdigit() for letter in found[0]) for found in KEY.finditer(text)):
        return True
    if BLOCK_BEGINS.search(text) or USERINFO.search(text):
        return True
    named = re.fullmatch(NAME, name.rpartition(".")[2], re.I)
    return named is not None and IN_A_KEY_FIELD.fullmatch(text) is not None


@dataclass(frozen=True)
class Redacted:
    text: str
    lines: int  # number of redacted lines


def without_secrets(diff: str, hide: Callable[[str], str] = lambda line: line) -> Redacted:
    """Redact everything in a diff that looks like a key; `hide` redacts known secrets in a line."""
    reader = _Reader(hide)
    lines = [(line, reader.line(line)) for line in diff.split("\n")]
    return Redacted("\n".join(after for _, after in lines), sum(before != after for before, after in lines))


@dataclass
class _Reader:
    """Line-by-line state, because a value may be on different lines than its name."""

    hide: Callable[[str], str]
    is_python: bool = False
    is_private_key: bool = False
    value_below: int | None = None  # lines indented deeper belong to the value of a name above
    is_block: bool = False
    goes_on: int = 0  # remaining lines of a statement with a secret name
    depth: int = 0  # number of its open brackets
    until: str | None = None  # the quotes that end its text

    def line(self, line: str) -> str:
        if line.startswith("diff --git"):
            self.is_python = line.rstrip().endswith(".py")
        if line.startswith(("diff --git", "index ", "--- ", "+++ ", "@@ ")):
            self.is_private_key, self.value_below, self.goes_on, self.until = False, None, 0, None
        if self._is_of_private_key(line) or self._is_value_below(line):
            return _all_but_indent(line)
        if BEFORE_BLOCK.match(line):
            self.value_below, self.is_block = _depth(line), line.rstrip()[-1] in "|>+-(\\0123456789"
        if self.until is not None:
            return self._text_goes_on(line)
        line = self._in_line(self.hide(line))
        return self._in_code(line) if self.is_python else FLOW.sub(self._flow, line)

    def _text_goes_on(self, line: str) -> str:
        """Redact a line of a triple-quoted string that began next to a secret name."""
        _, quotes, rest = line.partition(self.until or "")
        if quotes:
            self.until = None
        return f"{_all_but_indent(line)}{quotes}{rest}"

    def _in_code(self, line: str) -> str:
        """Redact literals of statements that mention a secret name, except names and sentences."""
        bare = LITERAL.sub('""', line)
        sure = SURE_IN_CODE.search(line) is not None
        if not sure and not self.goes_on:
            return LITERAL.sub(self._literal_beside_maybe, line) if MAYBE_IN_CODE.search(line) else line
        opened = sum(bare.count(each) for each in "([{") - sum(bare.count(each) for each in ")]}")
        is_body = bare.rstrip().endswith(":")  # of a function, a branch
        self.depth = opened if sure and not self.goes_on else self.depth + opened
        was_on, going = self.goes_on, self.depth > 0 or bare.rstrip().endswith("\\")
        self.goes_on = (was_on - 1 if was_on else MOST_LINES) if going and not is_body else 0
        return LITERAL.sub(self._literal, line)

    def _literal(self, found: re.Match[str]) -> str:
        text, quote, end = found["text"], found["quote"], found["end"] or ""
        if len(quote) == 3 and not IS_VALUE.search(found.string[: found.start()]):
            return found[0]
        if len(quote) == 3 and not end:
            self.until = quote
        is_name = NAME_OR_OPTION.fullmatch(text) and (SURE_IN_CODE.search(text) or text.isupper())
        if is_name or REDACTED in text or "{" in text or NO_SECRET.fullmatch(text):
            return found[0]
        if re.search(r"\s", text.strip()) and len(quote) == 1:
            return f"{quote}{KEY_WORD.sub(REDACTED, text)}{end}"
        return f"{quote}{REDACTED}{end}" if len(text.strip()) >= 6 else found[0]

    def _literal_beside_maybe(self, found: re.Match[str]) -> str:
        text = found["text"]
        is_key = PLAIN_KEY.fullmatch(text) and not text.startswith(("/", ".", "~"))
        return f"{found['quote']}{REDACTED}{found['end'] or ''}" if is_key and REDACTED not in text else found[0]

    def _flow(self, found: re.Match[str]) -> str:
        """Redact `api_keys: [one, two]`, and `tokens: [...]` if the first item looks like a key."""
        inner = found["value"][1:-1]
        is_secret = found["sure"] or IN_A_KEY_FIELD.fullmatch(inner.split(",")[0].strip(" \"'"))
        if not is_secret or REDACTED in inner or not inner.strip():
            return found[0]
        return f"{found['before']}{found['value'][0]}{REDACTED}{found['value'][-1]}"

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
        if WANDB.search(line):
            line = WANDB_KEY.sub(REDACTED, line)
        line = BASE64_LINE.sub(lambda found: f"{found['before']}{REDACTED}", line)
        return ASSIGNED.sub(self._assigned, line)

    def _assigned(self, found: re.Match[str]) -> str:
        """Redact the value of `api_key: value`, unless it is empty or an expression."""
        value = found["quoted"] if found["quote"] else found["bare"]
        is_expression = self.is_python and not found["quote"]
        is_secret = found["sure"] or LIKE_A_KEY.fullmatch(value) or HEX.fullmatch(value) or _is_likely_key(found)
        if REDACTED in value or NO_SECRET.fullmatch(value) or is_expression or not is_secret:
            return found[0]
        quote = found["quote"] or ""
        return f"{found['before']}{quote}{REDACTED}{quote}"


def _is_likely_key(found: re.Match[str]) -> bool:
    """Whether `token: value` with a single word is likely a key; `key: value` seldom is."""
    value = found["quoted"] or found["bare"] or ""
    return (
        found["maybe"].lower() != "key" and len(value) >= 8 and re.fullmatch(r"[\w+/=.~!@#$%^&*-]+", value) is not None
    )


def _depth(line: str) -> int:
    """Indentation of a diff line, without its marker."""
    return len(line[1:]) - len(line[1:].lstrip())


def _all_but_indent(line: str) -> str:
    return f"{line[:1]}{' ' * _depth(line)}{REDACTED}"
