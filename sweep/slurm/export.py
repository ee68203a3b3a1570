"""The code that was planned is the code that runs: a copy of it, made when a sweep is submitted.

Of a checkout every file that git tracks, as it is at this moment, and new files in the folders of code; results stay
behind. Of an installed package the packages, conf/ and slurm/, in the layout of a checkout. In both cases the user's
own conf/ is added to that of the copy.

Beside them exported.json, from which the records of the jobs take commit and diff (sweep/core/provenance.py), and
slurm/site.sh: the interpreter that planned the sweep, which the site's lines may change; these; then what they may not:
the number of threads, and where models and datasets were fetched to. A copied file that holds a key can be read by its
owner alone.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from sweep.core.pipeline import Launch
from sweep.core.provenance import git_state, tracked_files
from sweep.errors import InputError
from sweep.places import EXPORTED, PACKAGE, PROJECT, own_conf, shipped
from sweep.secrets import Secrets
from sweep.store.directory import write_json

PACKAGES = ("s1", "sweep")
SHIPPED = ("conf", "slurm")
CODE = (*PACKAGES, *SHIPPED)  # new files here are part of it
LEFT = ("results",)
SITE = Path("slurm/site.sh")
EXAMPLE = "site.sh.example"
MAY_HOLD_KEYS = (".yaml", ".yml", ".toml", ".json", ".sh", ".env", ".cfg", ".ini", "")
OWNER_ONLY = stat.S_IRUSR | stat.S_IWUSR


def export(code: Path, launch: Launch, threads: int) -> None:
    """Copy the project to `code`. Raises InputError for a site file that is not there."""
    for source, target in _files():
        (code / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, code / target)
        _keep_private(code / target)
    write_json(code / EXPORTED, git_state())
    (code / SITE).write_text(_site_text(launch, threads, os.environ), encoding="utf-8")
    _keep_private(code / SITE)


def _keep_private(path: Path) -> None:
    """A copy with a key in it is for its owner alone, and the jobs run as the owner; what holds none stays as it is."""
    if path.suffix not in MAY_HOLD_KEYS:
        return
    if Secrets.here().without_keys(path.read_text(encoding="utf-8", errors="replace")).lines:
        path.chmod(OWNER_ONLY | (path.stat().st_mode & stat.S_IXUSR))


def site_lines(site: str | None) -> str:
    """The lines that every job of this site begins with: of `site`, of ./slurm/site.sh, or of that of the checkout."""
    places = [Path(site).expanduser()] if site else [SITE, shipped("slurm") / SITE.name]
    path = next((each for each in places if each.is_file()), None)
    if path is not None:
        return path.read_text(encoding="utf-8").rstrip()
    if site:
        raise InputError(
            f"launch.site {site!r}: no such file. Copy {shipped('slurm') / EXAMPLE} to it, and edit the copy."
        )
    return "# no slurm/site.sh where this was submitted"


def _site_text(launch: Launch, threads: int, environment: Mapping[str, str]) -> str:
    caches = environment.get("XDG_CACHE_HOME") or "~/.cache"
    fetched_to = Path(environment.get("HF_HOME") or f"{caches}/huggingface").expanduser()
    return (
        f"PYTHON={shlex.quote(sys.executable)} # that planned the sweep\n\n"
        f"{site_lines(launch.site)}\n\n"
        "# What the sweep was planned with, and where it has put models and datasets.\n"
        f"export OMP_NUM_THREADS={threads}\n"
        f"export STALL_MINUTES={'none' if launch.stall_minutes is None else launch.stall_minutes}\n"
        f"export HF_HOME={shlex.quote(str(fetched_to))}\n"
    )


def _files() -> Iterator[tuple[Path, Path]]:
    """What to copy, and where to in the copy."""
    names = tracked_files(CODE)
    if names is not None:
        found = ((PROJECT / name, Path(name)) for name in names)
        yield from ((source, name) for source, name in found if name.parts[0] not in LEFT and source.is_file())
    else:
        for package in PACKAGES:
            yield from _below(PROJECT / package, Path(package))
        for folder in SHIPPED:
            yield from _below(shipped(folder), Path(folder))
    if own := own_conf():
        yield from _below(own, Path("conf"))


def _below(folder: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """The files of a folder, but what is compiled and what an installed package has inside that is no code."""
    inside = [PACKAGE / "shipped"]
    for path in sorted(folder.rglob("*")):
        is_left = "__pycache__" in path.parts or (folder == PACKAGE and any(map(path.is_relative_to, inside)))
        if path.is_file() and not is_left:
            yield path, target / path.relative_to(folder)
