"""Login names of accounts on this machine."""

from __future__ import annotations

import os
import pwd


def account_name(uid: int | None = None) -> str:
    """Login name of a user ID, by default that of this process; `uid 1001` if the machine knows no name for it."""
    uid = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):  # an ID without an entry, in a container
        return f"uid {uid}"
