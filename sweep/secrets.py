"""The secrets of this machine's user, so that no record, message or terminal shows one.

A variable of the environment holds one if its name says so (KEY, TOKEN, SECRET, PASSWORD, CREDENTIAL, AUTH ...) and its
value may be one: eight characters or more, and no word, number, path or address. A word or number of eight characters
in a variable named for a password or token is one where it is all that a field holds. Beside these: what
`huggingface-cli login` and `wandb login` have written.
"""

from __future__ import annotations

import json
import netrc
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from sweep.errors import InputError
from sweep.plain_values import is_list, is_mapping
from sweep.redaction import REDACTED, Redacted, key_in, without_keys

SAYS_SO = re.compile(
    r"SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|TOKEN(?!IZ)|API_?KEY|KEY$"
    r"|(?:^|_)(?:KEYS?|O?AUTH|PAT|PASS|PWD?|CREDS?|COOKIE|JWT|DSN|BEARER|WEBHOOK)\d*(?:_|$)|KEY\d*$"
)
SAYS_PASSWORD = re.compile(r"(?:PASSWORD|PASSWD|PASSPHRASE|PASSCODE|(?:^|_)(?:PASS|PWD|PW)|SECRET|(?:^|_)TOKEN)_?\d*$")
IS_ADDRESS = re.compile(r"(?:^|_)(?:DSN|WEBHOOK)(?:_|\d|$)")  # whoever has it may use it
SAYS_OTHERWISE = re.compile(r"(?:^(?:OLD)?PWD|(?<!WEBHOOK)_(?:FILE|PATH|DIR|SOCK|URL|HOST|NAME|VARIABLE|TYPE|METHOD))$")
LEAST_CHARACTERS = 8
LONGEST_WORD = 15  # letters alone: longer, it is hardly a word
NUMBER = re.compile(r"[-+]?[\d.,_]+(?:e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Secrets:
    """Values that are not to be shown, by the variable or file that holds them."""

    values: Mapping[str, str] = field(repr=False)
    # Words and numbers, which may stand in a text: secret where they are all of it.
    whole_values: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @classmethod
    def here(cls, environment: Mapping[str, str] | None = None) -> Secrets:
        """Of this process and this user."""
        environment = os.environ if environment is None else environment
        named = {name: value.strip() for name, value in environment.items() if _says_so(name)}
        found = {**named, **_stored(environment)}
        values = {name: value for name, value in found.items() if _may_be_one(value, name)}
        return cls(values, {name: value for name, value in named.items() if _is_password(name, value)})

    def and_of(self, variables: Iterable[str]) -> Secrets:
        """With the values of these variables, whatever their names."""
        more = {name: os.environ[name].strip() for name in variables if name in os.environ}
        values = {**self.values, **{name: value for name, value in more.items() if _may_be_one(value, name)}}
        return Secrets(values, self.whole_values)

    def holder(self, text: str) -> str | None:
        """The variable or file whose secret stands in a text; None: no secret does."""
        whole = (name for name, value in self.whole_values.items() if value == text.strip(" '\""))
        return next((name for form, name in self._forms if form in text), next(whole, None))

    def redacted(self, text: str) -> str:
        """The text without their values."""
        for form, _ in self._forms:
            text = text.replace(form, REDACTED)
        return text

    def without_keys(self, diff: str) -> Redacted:
        """A diff without their values, and without what looks like a key."""
        return without_keys(diff, self.redacted)

    @cached_property
    def _forms(self) -> list[tuple[str, str]]:
        """Each value as it may be written: plainly, quoted in Python or JSON, in an address; the longest first."""
        forms = {
            form: name
            for name, value in self.values.items()
            for form in (quote(value, safe=""), quote(value), json.dumps(value)[1:-1], repr(value)[1:-1], value)
        }
        return sorted(forms.items(), key=lambda each: -len(each[0]))


def redacted(text: str) -> str:
    """A text without the secrets of this process."""
    return Secrets.here().redacted(text)


def texts_in(value: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text and whole number of nested plain values, names of fields too, with the dotted field it stands in."""
    if isinstance(value, str | int) and not isinstance(value, bool):  # a password may be a number
        yield place, str(value)
    elif is_mapping(value):
        for name, inner in value.items():
            yield place or "a name", str(name)
            yield from texts_in(inner, f"{place}.{name}" if place else str(name))
    elif is_list(value):
        for inner in value:
            yield from texts_in(inner, place)


@dataclass
class Guard:
    """Refuses texts that hold a secret; a value that many points share is read once."""

    secrets: Secrets = field(default_factory=Secrets.here)
    _seen: dict[int, object] = field(default_factory=dict[int, object])  # by identity; kept, or another would get it
    _sound: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])  # field and text

    def refuse(self, fields: Mapping[str, object]) -> None:
        """Raises InputError, a line for each field that holds a secret or looks like a key; the value is not shown."""
        texts: list[tuple[str, str]] = []
        for name, value in fields.items():
            if id(value) in self._seen:
                continue
            if is_mapping(value) or is_list(value):
                self._seen[id(value)] = value
            texts += [("a name", name), *texts_in(value, name)]
        named = [text for place, text in texts if place.endswith("variable") and text not in self.secrets.values]
        if any(name in os.environ for name in named):  # a field says that a variable holds a key, whatever its name
            self.secrets = self.secrets.and_of(named)
            self._sound.clear()
        new = dict.fromkeys(pair for pair in texts if pair not in self._sound)
        faults = dict.fromkeys(fault for place, text in new if (fault := self._fault(place, text)))
        if faults:
            raise InputError("\n".join(faults))
        self._sound.update(new)

    def refuse_arguments(self, argv: Sequence[str]) -> None:
        """The same of a command line."""
        for number, argument in enumerate(argv, start=1):
            name, _, value = argument.lstrip("+~").partition("=")
            is_plain = not key_in(name) and (self.secrets.holder(value) or not self.secrets.holder(argument))
            place = name if is_plain else f"argument {number}"
            if fault := self._fault(place, argument) or self._fault(place, value):
                raise InputError(fault)

    def _fault(self, place: str, text: str) -> str | None:
        place = self.secrets.redacted(place)
        if holder := self.secrets.holder(text):
            return f"{place}: holds the value of {holder}. Leave it out: records and logs would show it."
        if key_in(text, place):
            return (
                f"{place}: looks like a key. Leave it out, keep it in the environment: records and logs would show it."
            )
        return None


def _says_so(name: str) -> bool:
    upper = name.upper()
    return SAYS_SO.search(upper) is not None and SAYS_OTHERWISE.search(upper) is None


def _is_password(name: str, value: str) -> bool:
    """A word or a number of a variable that is named for a password: secret where it is all that a field holds."""
    return SAYS_PASSWORD.search(name.upper()) is not None and len(value) >= LEAST_CHARACTERS and not _is_path(value)


def _may_be_one(value: str, name: str = "") -> bool:
    if len(value) < LEAST_CHARACTERS or NUMBER.fullmatch(value):
        return False
    if value.isalpha() and len(value) <= LONGEST_WORD and (value.islower() or value.isupper() or value.istitle()):
        return False
    if re.match(r"[a-z][a-z+.-]*://", value, re.IGNORECASE):
        return key_in(value) or IS_ADDRESS.search(name.upper()) is not None  # or with a password in it
    return not _is_path(value)


def _is_path(value: str) -> bool:
    """Of a place that is there, or by its first letters; a base64 key may begin with a slash too."""
    if value.startswith(("~/", "./", "../")):
        return True
    first = "/".join(value.split("/")[:2])
    return value.startswith("/") and len(first) > 1 and Path(first).exists()


def _stored(environment: Mapping[str, str]) -> dict[str, str]:
    """Tokens that logging in has left in files."""
    home = Path(environment.get("HOME") or Path.home())
    caches = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
    place = Path(environment.get("HF_HOME") or caches / "huggingface").expanduser() / "token"
    found: dict[str, str] = {}
    with suppress(OSError, UnicodeDecodeError):
        found[f"the token in {place}"] = place.read_text(encoding="utf-8").strip()
    path = Path(environment.get("NETRC") or home / ".netrc").expanduser()
    with suppress(OSError, UnicodeDecodeError, netrc.NetrcParseError):
        found.update({f"{host} in {path}": login[2] or "" for host, login in netrc.netrc(str(path)).hosts.items()})
    return found
