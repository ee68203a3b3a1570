"""Adds the user's own `conf/` in the working directory to the shipped configuration.

    ./conf/experiment/mine.yaml        python -m sweep +experiment=mine -m
    ./conf/model/mine.yaml             python -m sweep +experiment=budget_scan model=mine -m

It may add files but not replace any: a file with a shipped name and different content is refused, because a shipped
option must mean the same to every reader of a result.
"""

from __future__ import annotations

from collections.abc import Iterator
from filecmp import cmp
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from sweep.errors import InputError
from sweep.places import own_conf, shipped

CONFLICTS_NAMED = 3


class OwnConf(SearchPathPlugin):
    """Hydra plugin that adds the user's `conf/` to the search path, also for --help and completion."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        own = own_conf()
        if own is not None:
            search_path.append("own conf", f"file://{own}")


def add_own_conf() -> None:
    """Register the plugin. Raises InputError for files that would replace a shipped one."""
    own = own_conf()
    if own is not None and (conflicts := sorted(_conflicts(own, shipped("conf")))):
        more = f" and {len(conflicts) - CONFLICTS_NAMED} more" if len(conflicts) > CONFLICTS_NAMED else ""
        raise InputError(
            f"{', '.join(map(str, conflicts[:CONFLICTS_NAMED]))}{more}: the package ships a file of that name with"
            f" different content, in {shipped('conf')}. Rename yours, or work in another directory."
        )
    Plugins.instance().register(OwnConf)


def _conflicts(own: Path, theirs: Path) -> Iterator[Path]:
    """The user's files that differ from a shipped file of the same name."""
    for path in own.rglob("*.yaml"):
        twin = theirs / path.relative_to(own)
        if twin.is_file() and not cmp(path, twin, shallow=False):
            yield path.relative_to(own.parent)
