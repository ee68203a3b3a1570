"""Temporary files and folders whose names identify the process that made them.

    .1a2b3c4d5e6f.node7-4711-9f3c1ab2      a result that is being copied, by process 4711 of node7
    out-node7-4711-9f3c1ab2                an attempt at a stage

A leftover is abandoned if its process on this host has ended, or anywhere after a day, since no temporary file is
needed for that long.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import time
from pathlib import Path

TOKEN = re.compile(r"(?P<host>[A-Za-z0-9_-]+)-(?P<process>\d+)-[0-9a-f]{8}")
LONGEST_HOST = 64
DAY_S = 24 * 3600.0


def token() -> str:
    """A unique token that names this process."""
    return f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"


def is_token(text: str) -> bool:
    return TOKEN.fullmatch(text) is not None


def is_abandoned(path: Path, made_by: str) -> bool:
    """Whether the process of the token `made_by` has ended, as far as this host can tell."""
    maker = TOKEN.fullmatch(made_by)
    if maker and maker["host"] == _host() and not is_alive(int(maker["process"])):
        return True
    try:
        return time.time() - path.lstat().st_mtime > DAY_S
    except FileNotFoundError:  # renamed or removed since it was listed
        return False


def owner_has_ended(path: Path, made_by: str) -> bool:
    """Like is_abandoned; also True for tokens of this process and for names that are no token."""
    maker = TOKEN.fullmatch(made_by)
    is_own = maker is not None and maker["host"] == _host() and int(maker["process"]) == os.getpid()
    return maker is None or is_own or is_abandoned(path, made_by)


def remove(path: Path) -> None:
    """Remove a folder, file or link; another process may be removing it too."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", platform.node())[:LONGEST_HOST] or "host"


def is_alive(process: int) -> bool:
    """Whether a process of any user exists on this host."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
