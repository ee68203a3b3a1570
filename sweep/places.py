"""Locations of the code, the data files shipped with it, and the user's files in the working directory.

    in a checkout, or a copy exported to a job      installed by pip
    PROJECT/sweep  PROJECT/s1                       site-packages/sweep  site-packages/s1
    PROJECT/conf   PROJECT/slurm                    site-packages/sweep/shipped/{conf,slurm}

`store/`, `results/`, `tasks/`, `pins.lock` and a user's own `conf/` are in the working directory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sweep.errors import InputError

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent  # the folder that contains `sweep` and `s1`
EXPORTED = "exported.json"  # in code that was copied for the jobs of a sweep (sweep/slurm/export.py)
DISTRIBUTION = "s1-sweep"
INSTALLED = ("site-packages", "dist-packages")


def is_checkout() -> bool:
    """Whether this code runs from a checkout, where `make` and `pip install .` work."""
    return (PROJECT / "pyproject.toml").is_file() and not (PROJECT / EXPORTED).exists()


def requirement(extra: str) -> str:
    """What `pip install` takes to add an extra to this installation, quoted for a shell."""
    return f"'.[{extra}]'" if is_checkout() else f"'{DISTRIBUTION}[{extra}]'"


def shipped(name: str) -> Path:
    """The shipped folder `conf` or `slurm`."""
    inside = PACKAGE / "shipped" / name
    return inside if inside.is_dir() else PROJECT / name


def own_conf() -> Path | None:
    """The user's own `conf/` in the working directory; None if it does not exist or is the shipped one.

    Always None in code exported for jobs, which already contains it.
    """
    own = Path("conf").absolute()
    if (PROJECT / EXPORTED).exists() or not own.is_dir() or own.samefile(shipped("conf")):
        return None
    return own


def expanded(field: str, path: str | os.PathLike[str]) -> Path:
    """A path that a user typed, with `~` expanded. Raises InputError for one that no file system can hold."""
    if "\0" in os.fspath(path):
        raise InputError(f"{field} {os.fspath(path)!r}: contains a null character. Remove it.")
    try:
        return Path(path).expanduser()
    except RuntimeError:  # ~NAME without such an account, or ~ without a home
        raise InputError(f"{field} {path}: no such user. Correct the name, or write ./{path} for a folder.") from None


def folder_at(field: str, path: str | os.PathLike[str]) -> Path:
    """Absolute path of a folder that exists or can be made. Raises InputError for a file there, or above it."""
    folder = expanded(field, path).absolute()
    place = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not place.is_dir():
        raise InputError(
            f"{field} {path}: {place} is not a folder, but a folder is needed here. Move it away, or choose another"
            f" {field}."
        )
    return folder


def environment_of_workers(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment in which another process imports this same code from any directory."""
    safe = {**environment, "PYTHONSAFEPATH": "1"}
    if PROJECT.name in INSTALLED:  # importable already; on PYTHONPATH, it would shadow the standard library
        return safe
    given = environment.get("PYTHONPATH")
    return {**safe, "PYTHONPATH": os.pathsep.join(filter(None, (str(PROJECT), given)))}
