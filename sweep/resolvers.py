"""What `${name:...}` may be in a configuration: a resolver that computes from the configuration alone.

`oc.env`, Hydra's `now`, `hydra` and `python_version`, and whatever a library has registered, would make a point depend
on who composes it, where and when, and bring what stands in the environment into records. They are refused when they
are resolved, so that no spelling gets around it: `${${a}:X}`, `oc.decode` of a text, the defaults list of a file.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from omegaconf.basecontainer import BaseContainer

from sweep.errors import InputError
from sweep.places import own_conf

PURE = ("oc.create", "oc.decode", "oc.deprecated", "oc.dict.keys", "oc.dict.values", "oc.select")
REFUSED = re.compile(r"Unsupported interpolation type ([\w.\-]+)")
FULL_KEY = re.compile(r"full_key: (\S+)")
FILES_NAMED = 2


@contextmanager
def pure_resolvers() -> Generator[None]:
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
