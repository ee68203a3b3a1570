"""Interpolations in configurations: allows pure resolvers only, and resolves many points fast.

`${name:...}` may only compute from the configuration. `oc.env`, Hydra's `now`, `hydra` and `python_version`, and
resolvers that a library registers would make a point depend on who composes it, where and when, and copy the
environment into records. They are refused when they are resolved, so that no spelling evades the check: `${${a}:X}`,
`oc.decode`, defaults lists.
Interpolation takes nearly all the time of composing points. Most fields that axes set are read by no interpolation, so
their values replace those of an earlier resolution. Fields that are read, such as `seed`, are set first, and the result
is resolved once for all points that agree on them.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.basecontainer import BaseContainer

from sweep.errors import InputError
from sweep.places import own_conf
from sweep.plain_values import is_list, is_table

PURE = ("oc.create", "oc.decode", "oc.deprecated", "oc.dict.keys", "oc.dict.values", "oc.select")
REFUSED = re.compile(r"Unsupported interpolation type ([\w.\-]+)")
FULL_KEY = re.compile(r"full_key: (\S+)")
FILES_NAMED = 2


@contextmanager
def pure_resolvers() -> Generator[None]:
    """Inside the block, OmegaConf has only the pure resolvers."""
    # OmegaConf has no public list; Hydra saves and restores it the same way.
    known = BaseContainer._resolvers  # pyright: ignore[reportPrivateUsage]
    pure = {name: resolver for name, resolver in known.items() if name in PURE}
    BaseContainer._resolvers = pure  # pyright: ignore[reportPrivateUsage]
    try:
        yield
    finally:
        BaseContainer._resolvers = known  # pyright: ignore[reportPrivateUsage]


def refusal(error: BaseException, config_directory: Path, typed: Sequence[str]) -> InputError | None:
    """An InputError that explains a refused resolver; None for any other error."""
    for each in _chain(error):
        if found := REFUSED.search(str(each)):
            name, field = found[1], FULL_KEY.search(str(each))
            overrides = [line.lstrip("+").partition("=")[0] for line in typed if _written(name).search(line)]
            where = field[1] if field and field[1] != "_dummy_" else (*overrides, "defaults")[0]
            files = "" if overrides else _written_in(name, config_directory, typed)
            return InputError(
                f"{where}: ${{{name}:...}}{files} is refused, as its value differs between machines. Write the value,"
                ' or let your shell insert it, as in store="$HOME/store". Never put keys into a configuration: programs'
                " read them from the environment."
            )
    return None


def _written(name: str) -> re.Pattern[str]:
    return re.compile(rf"\$\{{\s*{re.escape(name)}\s*:")


def _written_in(name: str, config_directory: Path, typed: Sequence[str]) -> str:
    """The files that use the resolver: chosen options first, else any."""
    written = _written(name)
    folders = [each for each in (own_conf(), config_directory) if each is not None]
    chosen = [_option(line, folder) for folder in folders for line in typed]
    for paths in (chosen, sorted(path for folder in folders for path in folder.rglob("*.yaml"))):
        found = [path for path in paths if path.is_file() and written.search(path.read_text("utf-8", "replace"))]
        if found:
            return f" in {', '.join(map(str, found[:FILES_NAMED]))}"
    return ""


def _option(line: str, config_directory: Path) -> Path:
    """The file of the group option that an override would choose."""
    group, _, option = line.lstrip("+").partition("=")
    return config_directory / group.partition("@")[0] / f"{option}.yaml"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


INTERPOLATION = re.compile(r"\$\{([^${}]*)\}")
PATH = re.compile(r"\w+(\.\w+)*")


class Resolver:
    """Resolves one configuration for many values of its fields."""

    def __init__(self, config: DictConfig) -> None:
        self._config = config
        self._texts = [text for text in texts_of(OmegaConf.to_container(config)) if "${" in text]
        self._is_read: dict[str, bool] = {}
        self._known: dict[str, Mapping[str, Any]] = {}  # by the values of fields that interpolations read

    def resolved(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The resolved configuration with these values at dotted fields; unchanged parts are shared between points."""
        read = {field: value for field, value in values.items() if self._reads(field) or "${" in str(value)}
        known = repr(sorted(read.items()))
        if known not in self._known:
            for field, value in read.items():
                OmegaConf.update(self._config, field, value, merge=True)
            resolved = OmegaConf.to_container(self._config, resolve=True, throw_on_missing=True)
            self._known[known] = cast(dict[str, Any], resolved)  # of a DictConfig, a dict
        return _replaced(self._known[known], {field: values[field] for field in values if field not in read})

    def _reads(self, field: str) -> bool:
        if field not in self._is_read:
            self._is_read[field] = any(_reads(text, field) for text in self._texts)
        return self._is_read[field]


def _replaced(plain: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with other values at dotted fields; unchanged parts are shared."""
    result = dict(plain)
    for field, value in values.items():
        *parents, name = field.split(".")
        place = result
        for parent in parents:
            place[parent] = dict(place[parent])
            place = place[parent]
        place[name] = value
    return result


def _reads(text: str, field: str) -> bool:
    """Whether an interpolation in a text may read the field; a nested one may read any field."""
    names = INTERPOLATION.findall(text)
    return len(names) < text.count("${") or any(_touches(name.strip(), field) for name in names)


def _touches(name: str, field: str) -> bool:
    """Whether a name contains the field or is part of it; relative and computed names may be."""
    if not PATH.fullmatch(name):
        return True
    return name == field or field.startswith(f"{name}.") or name.startswith(f"{field}.")


def names(text: str, field: str) -> bool:
    """Whether an interpolation in a text names the field; a computed one does if it contains its first word."""
    plain = [name.strip() for name in INTERPOLATION.findall(text)]
    if any(PATH.fullmatch(name) and _touches(name, field) for name in plain):
        return True
    is_computed = len(plain) < text.count("${") or not all(map(PATH.fullmatch, plain))
    return is_computed and re.search(rf"\b{re.escape(field.partition('.')[0])}\b", text) is not None


def texts_of(value: object) -> Iterator[str]:
    """All strings in plain nested values."""
    if isinstance(value, str):
        yield value
    elif is_table(value):
        for inner in value.values():
            yield from texts_of(inner)
    elif is_list(value):
        for inner in value:
            yield from texts_of(inner)
