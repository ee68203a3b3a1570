"""What `${name:...}` may be in a configuration: a resolver that computes from the configuration alone.

`oc.env`, Hydra's `now`, `hydra` and `python_version`, and whatever a library has registered, would make a point depend
on who composes it, where and when, and bring what stands in the environment into records. They are refused when they
are resolved, so that no spelling gets around it: `${${a}:X}`, `oc.decode` of a text, the defaults list of a file.

Many points of one composed configuration as plain values: nearly all of the time that takes is interpolation.

Most fields that an axis sets are read by no interpolation, and can be put into what was resolved before. Those that are
read, as `seed` is by many, are set first, and what comes of it is resolved once for all points that agree on them.
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
    """Inside, OmegaConf knows no resolver but these."""
    # As Hydra does to keep and restore them: OmegaConf has no public list.
    known = BaseContainer._resolvers  # pyright: ignore[reportPrivateUsage]
    pure = {name: resolver for name, resolver in known.items() if name in PURE}
    BaseContainer._resolvers = pure  # pyright: ignore[reportPrivateUsage]
    try:
        yield
    finally:
        BaseContainer._resolvers = known  # pyright: ignore[reportPrivateUsage]


def refusal(error: BaseException, config_directory: Path, typed: Sequence[str]) -> InputError | None:
    """What to say of an error that a refused resolver has raised; None for every other error."""
    for each in _chain(error):
        if found := REFUSED.search(str(each)):
            name, field = found[1], FULL_KEY.search(str(each))
            where = field[1] if field and field[1] != "_dummy_" else "defaults"
            files = _written_in(name, config_directory, typed)
            return InputError(
                f"{where}: ${{{name}:...}}{files} is refused, as it does not mean the same everywhere. Write the value,"
                ' or have your shell put it in, as in store="$HOME/store". Keys belong into no configuration: programs'
                " read them from the environment."
            )
    return None


def _written_in(name: str, config_directory: Path, typed: Sequence[str]) -> str:
    """The files that name the resolver: those that the command line chooses, or else any; nothing if it is typed."""
    written = re.compile(rf"\$\{{\s*{re.escape(name)}\s*:")
    if any(written.search(line) for line in typed):
        return ""
    folders = [each for each in (own_conf(), config_directory) if each is not None]
    chosen = [_option(line, folder) for folder in folders for line in typed]
    for paths in (chosen, sorted(path for folder in folders for path in folder.rglob("*.yaml"))):
        found = [path for path in paths if path.is_file() and written.search(path.read_text("utf-8", "replace"))]
        if found:
            return f" in {', '.join(map(str, found[:FILES_NAMED]))}"
    return ""


def _option(line: str, config_directory: Path) -> Path:
    """The file of the option that an override chooses, if it chooses one."""
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
    """One configuration, under any values of its fields."""

    def __init__(self, config: DictConfig) -> None:
        self._config = config
        self._texts = [text for text in texts_of(OmegaConf.to_container(config)) if "${" in text]
        self._is_read: dict[str, bool] = {}
        self._known: dict[str, Mapping[str, Any]] = {}  # by the values of the fields that are read

    def resolved(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration with these values at dotted fields; what is the same for others is shared with them."""
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
    """The same with other values at dotted fields; what does not change is shared."""
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
    """Whether an interpolation in a text reads the field; what is nested may read anything."""
    names = INTERPOLATION.findall(text)
    return len(names) < text.count("${") or any(_touches(name.strip(), field) for name in names)


def _touches(name: str, field: str) -> bool:
    """Whether what an interpolation names holds the field, or is held by it; a relative or computed name may."""
    if not PATH.fullmatch(name):
        return True
    return name == field or field.startswith(f"{name}.") or name.startswith(f"{field}.")


def names(text: str, field: str) -> bool:
    """Whether an interpolation in a text names the field; a computed one does if it holds the first word of it."""
    plain = [name.strip() for name in INTERPOLATION.findall(text)]
    if any(PATH.fullmatch(name) and _touches(name, field) for name in plain):
        return True
    is_computed = len(plain) < text.count("${") or not all(map(PATH.fullmatch, plain))
    return is_computed and re.search(rf"\b{re.escape(field.partition('.')[0])}\b", text) is not None


def texts_of(value: object) -> Iterator[str]:
    """All texts among plain values."""
    if isinstance(value, str):
        yield value
    elif is_table(value):
        for inner in value.values():
            yield from texts_of(inner)
    elif is_list(value):
        for inner in value:
            yield from texts_of(inner)
