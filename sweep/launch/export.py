"""The code that was planned is the code that runs: a copy of the working tree, made when a sweep is submitted.

Every file that git tracks, as it is at this moment, and new files in the folders of code; results stay behind. Beside
them exported.json, from which the records of the jobs take commit and diff (sweep/provenance.py), and slurm/site.sh:
the interpreter that planned the sweep, which the site's lines may change; these; then what they may not: the number of
threads, and where models and datasets were fetched to. A copied file that holds a key can be read by its owner alone.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from sweep.contract import Launch
from sweep.errors import InputError
from sweep.provenance import EXPORTED, PROJECT, git_state, tracked_files
from sweep.secrets import Secrets
from sweep.store import write_json

CODE = ("s1", "sweep", "conf", "slurm")  # new files here are part of it
LEFT = ("results",)
SITE = Path("slurm/site.sh")
MAY_HOLD_KEYS = (".yaml", ".yml", ".toml", ".json", ".sh", ".env", ".cfg", ".ini", "")
OWNER_ONLY = stat.S_IRUSR | stat.S_IWUSR


def export(code: Path, launch: Launch, threads: int) -> None:
    """Copy the project to `code`. Raises InputError for a site file that is not there."""
    for name in _names():
        source = PROJECT / name
        if source.is_file() and Path(name).parts[0] not in LEFT:
            (code / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, code / name)
            _keep_private(code / name)
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
    """The lines that every job of this site begins with."""
    path = PROJECT / (Path(site).expanduser() if site else SITE)
    if not path.is_file():
        if site:
            raise InputError(f"launch.site {site!r}: no such file. Copy slurm/site.sh.example to it, and edit it.")
        return "# no slurm/site.sh where this was submitted"
    return path.read_text(encoding="utf-8").rstrip()


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


def _names() -> list[str]:
    """Relative paths of what to copy; outside a checkout, all files in the folders of code."""
    tracked = tracked_files(CODE)
    if tracked is not None:
        return tracked
    found = (path for folder in CODE for path in (PROJECT / folder).rglob("*") if "__pycache__" not in path.parts)
    return [str(path.relative_to(PROJECT)) for path in found]
