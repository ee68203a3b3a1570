"""Determines the owner of a submission, from the owner of its files and the user it records.

Stores may be shared. Without an id, commands use your own submissions. Another user's submission runs that user's code,
so it must be named, and `--yes` confirms it. A submission is your own only if file owner and recorded user agree:
anyone who can write the files could record any user name in them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweep.accounts import account_name
from sweep.errors import InputError
from sweep.json_files import StoreError, read_sealed
from sweep.slurm.submission import SubmissionDirectory, find_submission, submissions

SHOWN_IDS = 3


@dataclass(frozen=True)
class Account:
    """A login on one host."""

    user: str
    uid: int
    host: str


@dataclass(frozen=True)
class Owner:
    """Owner of a submission."""

    user: str
    uid: int
    conflict: str = ""  # one line, if file owner and record disagree

    def is_account(self, account: Account) -> bool:
        return not self.conflict and self.uid == account.uid


def this_account() -> Account:
    """The user of this process, and its host."""
    uid = os.geteuid()
    return Account(account_name(uid), uid, socket.gethostname())


def submission_owner(directory: SubmissionDirectory) -> Owner:
    """The owner by files and record; without a record, the owner of submission.json.

    If that file is lost, the owner of its second copy, or else of the folder.
    """
    uid = next(uid for path in _owned_files(directory) if (uid := _uid_of(path)) is not None)
    user = account_name(uid)
    recorded, recorded_uid = _recorded(directory)
    if recorded and (recorded != user or recorded_uid != uid):
        conflict = f"recorded for {recorded} (uid {recorded_uid}), but submission.json belongs to {user} (uid {uid})"
        return Owner(user, uid, conflict)
    for path in (directory.path, directory.code):
        other = _uid_of(path)
        if other not in (None, uid):
            return Owner(user, uid, f"submission.json belongs to {user} (uid {uid}), {path.name} to uid {other}")
    return Owner(user, uid)


def is_own(directory: SubmissionDirectory) -> bool:
    """Whether both file owner and record are this account."""
    return submission_owner(directory).is_account(this_account())


def foreign_lines(directories: Iterable[SubmissionDirectory]) -> list[str]:
    """One line for each other user: "2 submissions of bob are here: ID, ID."."""
    account = this_account()
    by_user: dict[str, list[str]] = {}
    lines: list[str] = []
    for directory in directories:
        owner = submission_owner(directory)
        if owner.conflict:
            lines.append(f"{directory.name}: {owner.conflict}. Treated as another user's.")
        elif not owner.is_account(account):
            by_user.setdefault(owner.user, []).append(directory.name)
    return [*(_summary(user, names) for user, names in by_user.items()), *lines]


def find_own(store: Path, name: str | None) -> SubmissionDirectory:
    """The submission of that name, or your newest. Raises InputError if there is none."""
    if name is None and (known := submissions(store)) and not any(map(is_own, reversed(known))):
        others = " ".join(foreign_lines(known))
        raise InputError(f"submission: none of yours in {store}. {others} Name one.")
    return find_submission(store, name, is_own)


def refuse_foreign(directory: SubmissionDirectory, verb: str, consequence: str, is_confirmed: bool) -> str | None:
    """A line that says what `verb` does to another user's submission; None for your own.

    `consequence` may contain {owner}, {account} and {directory}. Raises InputError with the line unless `is_confirmed`.
    """
    owner, account = submission_owner(directory), this_account()
    if owner.is_account(account):
        return None
    why = f" ({owner.conflict})" if owner.conflict else ""
    what = consequence.format(owner=owner.user, account=account.user, directory=directory.path)
    line = f"{verb} {directory.name}: belongs to {owner.user}{why}. {what}"
    if not is_confirmed:
        raise InputError(f"{line} Add --yes to do it anyway.")
    return line


def _summary(user: str, names: list[str]) -> str:
    many = len(names) > 1
    newest = ", the newest" if len(names) > SHOWN_IDS else ""
    shown = ", ".join(names[-SHOWN_IDS:])
    return f"{len(names)} submission{'s' if many else ''} of {user} {'are' if many else 'is'} here{newest}: {shown}."


def _recorded(directory: SubmissionDirectory) -> tuple[str, int]:
    """The recorded user, printable, and uid; ("", -1) if there is no record or it is unreadable."""
    written: Mapping[str, object] = {}
    for file in (directory.copy_file, directory.submission_file):  # submission.json wins if it is intact
        with suppress(StoreError, OSError):
            written = read_sealed(file) or written
    user, uid = written.get("user", ""), written.get("uid", -1)
    shown = "".join(each if each.isprintable() else "?" for each in str(user))
    return shown, uid if isinstance(uid, int) else -1


def _owned_files(directory: SubmissionDirectory) -> tuple[Path, ...]:
    return directory.submission_file, directory.copy_file, directory.path


def _uid_of(path: Path) -> int | None:
    return path.stat().st_uid if path.exists() else None
