"""Find the user's secrets, so that no record, message or terminal shows them.

An environment variable is secret if its name suggests it (KEY, TOKEN, SECRET, PASSWORD, CREDENTIAL, AUTH ...) and its
value can be a secret: at least eight characters, and not a word, number, path or URL. A word or number in a password or
token variable counts as a secret only where it is the entire value of a field. The tokens that `huggingface-cli login`
and `wandb login` have stored are secrets too.
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
from sweep.redaction import REDACTED, Redacted, key_in, without_secrets

SECRET_NAME = re.compile(
    r"SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|TOKEN(?!IZ)|API_?KEY|KEY$"
    r"|(?:^|_)(?:KEYS?|O?AUTH|PAT|PASS|PWD?|CREDS?|COOKIE|JWT|DSN|BEARER|WEBHOOK)\d*(?:_|$)|KEY\d*$"
)
PASSWORD_NAME = re.compile(r"(?:PASSWORD|PASSWD|PASSPHRASE|PASSCODE|(?:^|_)(?:PASS|PWD|PW)|SECRET|(?:^|_)TOKEN)_?\d*$")
SECRET_URL_NAME = re.compile(r"(?:^|_)(?:DSN|WEBHOOK)(?:_|\d|$)")  # knowing the URL grants access
NOT_SECRET_NAME = re.compile(
    r"(?:^(?:OLD)?PWD|(?<!WEBHOOK)_(?:FILE|PATH|DIR|SOCK|URL|HOST|NAME|VARIABLE|TYPE|METHOD))$"
)
LEAST_CHARACTERS = 8
LONGEST_WORD = 15  # longer strings of letters are hardly words
NUMBER = re.compile(r"[-+]?[\d.,_]+(?:e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Secrets:
    """Secret values, by the variable or file that contains them."""

    values: Mapping[str, str] = field(repr=False)
    # Words and numbers, which are secret only where they are the entire text.
    whole_values: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @classmethod
    def here(cls, environment: Mapping[str, str] | None = None) -> Secrets:
        """Secrets of this process and user."""
        environment = os.environ if environment is None else environment
        named = {name: value.strip() for name, value in environment.items() if _has_secret_name(name)}
        found = {**named, **_stored(environment)}
        values = {name: value for name, value in found.items() if _can_be_secret(value, name)}
        return cls(values, {name: value for name, value in named.items() if _is_password(name, value)})

    def with_variables(self, variables: Iterable[str]) -> Secrets:
        """Add the values of these variables, whatever their names."""
        more = {name: os.environ[name].strip() for name in variables if name in os.environ}
        values = {**self.values, **{name: value for name, value in more.items() if _can_be_secret(value, name)}}
        return Secrets(values, self.whole_values)

    def holder(self, text: str) -> str | None:
        """The variable or file whose secret occurs in a text; None without a secret."""
        whole = (name for name, value in self.whole_values.items() if value == text.strip(" '\""))
        return next((name for form, name in self._forms if form in text), next(whole, None))

    def redacted(self, text: str) -> str:
        """Replace the secret values in a text."""
        for form, _ in self._forms:
            text = text.replace(form, REDACTED)
        return text

    def without_secrets(self, diff: str) -> Redacted:
        """Redact the secret values in a diff, and everything that looks like a key."""
        return without_secrets(diff, self.redacted)

    @cached_property
    def _forms(self) -> list[tuple[str, str]]:
        """Each value in its possible spellings: plain, quoted in Python or JSON, URL-encoded; longest first."""
        forms = {
            form: name
            for name, value in self.values.items()
            for form in (quote(value, safe=""), quote(value), json.dumps(value)[1:-1], repr(value)[1:-1], value)
        }
        return sorted(forms.items(), key=lambda each: -len(each[0]))


def redacted(text: str) -> str:
    """Replace the secrets of this process in a text."""
    return Secrets.here().redacted(text)


def texts_in(value: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text, integer and field name in nested plain values, with its dotted path."""
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
    """Refuse texts that contain a secret. Reads a value that many points share once."""

    secrets: Secrets = field(default_factory=Secrets.here)
    # By id(); the references keep the ids from being reused.
    _seen: dict[int, object] = field(default_factory=dict[int, object])
    _sound: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])  # field and text

    def refuse(self, fields: Mapping[str, object]) -> None:
        """Raises InputError with a line for each field with a secret or apparent key; does not show the value."""
        texts: list[tuple[str, str]] = []
        for name, value in fields.items():
            if id(value) in self._seen:
                continue
            if is_mapping(value) or is_list(value):
                self._seen[id(value)] = value
            texts += [("a name", name), *texts_in(value, name)]
        named = [text for place, text in texts if place.endswith("variable") and text not in self.secrets.values]
        if any(name in os.environ for name in named):  # a field names a variable that contains a key
            self.secrets = self.secrets.with_variables(named)
            self._sound.clear()
        new = dict.fromkeys(pair for pair in texts if pair not in self._sound)
        faults = dict.fromkeys(fault for place, text in new if (fault := self._fault(place, text)))
        if faults:
            raise InputError("\n".join(faults))
        self._sound.update(new)

    def refuse_arguments(self, argv: Sequence[str]) -> None:
        """Like `refuse`, for a command line."""
        for number, argument in enumerate(argv, start=1):
            name, _, value = argument.lstrip("+~").partition("=")
            is_plain = not key_in(name) and (self.secrets.holder(value) or not self.secrets.holder(argument))
            place = name if is_plain else f"argument {number}"
            if fault := self._fault(place, argument) or self._fault(place, value):
                raise InputError(fault)

    def _fault(self, place: str, text: str) -> str | None:
        place = self.secrets.redacted(place)
        if holder := self.secrets.holder(text):
            return f"{place}: contains the value of {holder}. Leave it out: records and logs would show it."
        if key_in(text, place):
            return f"{place}: looks like a key. Keep it in the environment instead: records and logs would show it."
        return None


def _has_secret_name(name: str) -> bool:
    upper = name.upper()
    return SECRET_NAME.search(upper) is not None and NOT_SECRET_NAME.search(upper) is None


def _is_password(name: str, value: str) -> bool:
    """Whether this is a word or number of a password variable: secret only where it is the entire text."""
    return PASSWORD_NAME.search(name.upper()) is not None and len(value) >= LEAST_CHARACTERS and not _is_path(value)


def _can_be_secret(value: str, name: str = "") -> bool:
    if len(value) < LEAST_CHARACTERS or NUMBER.fullmatch(value):
        return False
    if value.isalpha() and len(value) <= LONGEST_WORD and (value.islower() or value.isupper() or value.istitle()):
        return False
    if re.match(r"[a-z][a-z+.-]*://", value, re.IGNORECASE):
        return key_in(value) or SECRET_URL_NAME.search(name.upper()) is not None  # or contains a password
    return not _is_path(value)


def _is_path(value: str) -> bool:
    """Decide by its first characters, or check that the path exists, because a base64 key may begin with a slash."""
    if value.startswith(("~/", "./", "../")):
        return True
    first = "/".join(value.split("/")[:2])
    return value.startswith("/") and len(first) > 1 and os.path.exists(first)  # noqa: PTH110, which raises for a long one


def _stored(environment: Mapping[str, str]) -> dict[str, str]:
    """Tokens in files of login commands."""
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
