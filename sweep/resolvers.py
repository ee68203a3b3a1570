"""What `${name:...}` may be in a configuration: a resolver that computes from the configuration alone.

`oc.env`, Hydra's `now`, `hydra` and `python_version`, and whatever a library has registered, would make a point depend
on who composes it, where and when, and bring what stands in the environment into records. They are refused when they
are resolved, so that no spelling gets around it: `${${a}:X}`, `oc.decode` of a text, the defaults list of a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from omegaconf.basecontainer import BaseContainer

from sweep.errors import InputError

PURE = ("oc.create", "oc.decode", "oc.deprecated", "oc.dict.keys", "oc.dict.values", "oc.select")
REFUSED = re.compile(r"Unsupported interpolation type ([\w.\-]+)")
FULL_KEY = re.compile(r"full_key: (\S+)")
FILES_NAMED = 2


@contextmanager
def pure_resolvers() -> Iterator[None]:
    """Inside, OmegaConf knows no resolver but these."""
    known = BaseContainer._resolvers  # as Hydra does to keep and restore them: OmegaConf has no public list
    BaseContainer._resolvers = {name: resolver for name, resolver in known.items() if name in PURE}
    try:
        yield
    finally:
        BaseContainer._resolvers = known


def refusal(error: BaseException, config_directory: Path, typed: Sequence[str]) -> InputError | None:
    """What to say of an error that a refused resolver has raised; None for every other error."""
    for each in _chain(error):
        if found := REFUSED.search(str(each)):
            name, field = found[1], FULL_KEY.search(str(each))
            where = field[1] if field and field[1] != "_dummy_" else "defaults"
            files = "" if any(f"{name}:" in line for line in typed) else _files_with(name, config_directory)
            return InputError(f"{where}: ${{{name}:...}}{files} is not allowed in a point. {_advice(name, where)}")
    return None


def _advice(name: str, field: str) -> str:
    if name == "oc.env":
        return (
            "Points are recorded, and mean the same everywhere: write the value, or let your shell put it in,"
            f' as in {field}="$NAME" (no key: programs read these themselves).'
        )
    return "Points mean the same everywhere and always: write the value itself."


def _files_with(name: str, config_directory: Path) -> str:
    """The files of the configuration that name the resolver."""
    found = [
        path
        for path in sorted(config_directory.rglob("*.yaml"))
        if f"{name}:" in path.read_text(encoding="utf-8", errors="replace")
    ]
    return f" ({', '.join(str(path) for path in found[:FILES_NAMED])})" if found else ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
