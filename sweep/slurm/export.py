"""Copies the code into the submission, so that jobs run the code that was planned whatever happens to the checkout.

From a checkout, copies every file that git tracks, in its current state, and untracked files in the code folders, but
not results/. From an installed package, copies the packages, conf/ and slurm/ in the layout of a checkout. Adds the
user's own conf/ in both cases, exported.json, from which the jobs' records take commit and diff
(sweep/core/provenance.py), and slurm/site.sh. It sets the Python that planned the sweep, which the user's lines may
override, then the cache folder of models and datasets, and the container, which they may not. Copied files with an API
key or a password in them are readable by their owner only.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from sweep.core.launch import Launch
from sweep.core.provenance import git_state, tracked_files
from sweep.errors import InputError
from sweep.places import EXPORTED, PACKAGE, PROJECT, expanded, own_conf, shipped
from sweep.secrets import Secrets
from sweep.slurm.container import container_lines
from sweep.store.directory import write_json

PACKAGES = ("s1", "sweep")
SHIPPED = ("conf", "slurm")
CODE = (*PACKAGES, *SHIPPED)  # untracked files in these folders are copied too
EXCLUDED = ("results",)
SITE = Path("slurm/site.sh")
EXAMPLE = "site.sh.example"
MAY_HOLD_KEYS = (".yaml", ".yml", ".toml", ".json", ".sh", ".env", ".cfg", ".ini", "")
OWNER_ONLY = stat.S_IRUSR | stat.S_IWUSR


def export(code: Path, launch: Launch) -> None:
    """Copy the project to `code`. Raises InputError if the site file does not exist."""
    for source, target in _files():
        (code / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, code / target)
        _keep_private(code / target)
    write_json(code / EXPORTED, git_state())
    (code / SITE).write_text(_site_text(code, launch, os.environ), encoding="utf-8")
    _keep_private(code / SITE)


def _keep_private(path: Path) -> None:
    """Make a file with an API key or password in it readable by its owner only; the jobs run as the same user."""
    if path.suffix not in MAY_HOLD_KEYS:
        return
    if Secrets.here().without_secrets(path.read_text(encoding="utf-8", errors="replace")).lines:
        path.chmod(OWNER_ONLY | (path.stat().st_mode & stat.S_IXUSR))


def site_lines(site: str | None) -> str:
    """Shell lines for the beginning of every job: from `site`, ./slurm/site.sh, or slurm/site.sh of the checkout.

    Raises InputError if there is no file `site`, or if the file cannot be read.
    """
    places = [expanded("launch.site", site)] if site else [SITE, shipped("slurm") / SITE.name]
    path = next((each for each in places if each.is_file()), None)
    if path is not None:
        try:
            return path.read_text(encoding="utf-8").rstrip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise InputError(f"launch.site {str(path)!r}: cannot be read, {reason}. Repair the file.") from None
    if site:
        raise InputError(
            f"launch.site {site!r}: no such file. Copy {shipped('slurm') / EXAMPLE} to it, and edit the copy."
        )
    return "# there was no slurm/site.sh when this was submitted"


def _site_text(code: Path, launch: Launch, environment: Mapping[str, str]) -> str:
    caches = environment.get("XDG_CACHE_HOME") or "~/.cache"
    fetched_to = expanded("HF_HOME", environment.get("HF_HOME") or f"{caches}/huggingface")
    store = code.resolve().parents[2]  # store/submissions/ID/code
    return "\n".join(
        [
            f"PYTHON={shlex.quote(sys.executable)} # the interpreter that planned the sweep",
            "",
            site_lines(launch.site),
            "",
            "# The folder where models and datasets were downloaded.",
            f"export STALL_MINUTES={'none' if launch.stall_minutes is None else launch.stall_minutes}",
            f"export HF_HOME={shlex.quote(str(fetched_to))}",
            *(container_lines(launch.image, (str(store), str(fetched_to))) if launch.image else ()),
            "",
        ]
    )


def _files() -> Iterator[tuple[Path, Path]]:
    """Pairs of a source file and its path inside the copy."""
    names = tracked_files(CODE)
    if names is not None:
        found = ((PROJECT / name, Path(name)) for name in names)
        yield from ((source, name) for source, name in found if name.parts[0] not in EXCLUDED and source.is_file())
    else:
        for package in PACKAGES:
            yield from _files_in(PROJECT / package, Path(package))
        for folder in SHIPPED:
            yield from _files_in(shipped(folder), Path(folder))
    if own := own_conf():
        yield from _files_in(own, Path("conf"))


def _files_in(folder: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """The files of a folder, without compiled files and without the non-code folders of an installed package."""
    for path in sorted(folder.rglob("*")):
        is_excluded = "__pycache__" in path.parts or (folder == PACKAGE and path.is_relative_to(PACKAGE / "shipped"))
        if path.is_file() and not is_excluded:
            yield path, target / path.relative_to(folder)
