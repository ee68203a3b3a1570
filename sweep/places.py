"""Where things are: the code, what it ships beside Python, and what a user has where they work.

    in a checkout, or a copy exported to a job      installed by pip
    PROJECT/sweep  PROJECT/s1                       site-packages/sweep  site-packages/s1
    PROJECT/conf   PROJECT/slurm                    site-packages/sweep/shipped/{conf,slurm}

`store/`, `results/`, `tasks/`, `pins.lock` and a user's own `conf/` are looked for in the working directory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent  # the folder from which `sweep` and `s1` are imported
EXPORTED = "exported.json"  # beside code that was copied for the jobs of a sweep (sweep/slurm/export.py)
INSTALLED = ("site-packages", "dist-packages")


def shipped(name: str) -> Path:
    """The folder `conf` or `slurm` that came with the code."""
    inside = PACKAGE / "shipped" / name  # not sweep/slurm, which is a Python package
    return inside if inside.is_dir() else PROJECT / name


def own_conf() -> Path | None:
    """The user's own `conf/` in the working directory; None where there is none, or where it is the shipped one.

    The copy that jobs run has taken it in: there, none is looked for.
    """
    own = Path("conf").absolute()
    if (PROJECT / EXPORTED).exists() or not own.is_dir() or own.samefile(shipped("conf")):
        return None
    return own


def environment_of_workers(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment in which another process imports this very code, whatever directory it is started in."""
    safe = {**environment, "PYTHONSAFEPATH": "1"}
    if PROJECT.name in INSTALLED:  # found without help; in front of the standard library it would hide modules of that
        return safe
    given = environment.get("PYTHONPATH")
    return {**safe, "PYTHONPATH": os.pathsep.join(filter(None, (str(PROJECT), given)))}
