"""Whose a submission is: the owner of its files, and the user that it has recorded.

A store may be shared. What a command means without an id are one's own submissions; those of somebody else run their
code, so they are named, and `--yes` confirms that this is meant. Own is what belongs to this account by every sign: who
could write the files of a submission could write any user into it, and who could not has not written it.
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
from sweep.slurm.submission import SubmissionDirectory

SHOWN_IDS = 3


@dataclass(frozen=True)
class Account:
    """A login on one host."""

    user: str
    uid: int
    host: str


@dataclass(frozen=True)
class Owner:
    """Of a submission."""

    user: str
    uid: int
    conflict: str = ""  # one line, where the signs disagree

    def is_account(self, account: Account) -> bool:
        return not self.conflict and self.uid == account.uid


def this_account() -> Account:
    """Who runs this process, and where."""
    uid = os.geteuid()
    return Account(account_name(uid), uid, socket.gethostname())


def submission_owner(directory: SubmissionDirectory) -> Owner:
    """By the files, and by what was recorded; without a record the owner of submission.json counts.

    Where that is lost, its second copy, or else the folder.
    """
    uid = next(uid for path in _signs(directory) if (uid := _uid_of(path)) is not None)
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
    """Whether it belongs to this account by every sign."""
    return submission_owner(directory).is_account(this_account())


def foreign_lines(directories: Iterable[SubmissionDirectory]) -> list[str]:
    """What there is of others, a line each: "2 submissions of bob are here: ID, ID."."""
    account = this_account()
    by_user: dict[str, list[str]] = {}
    lines: list[str] = []
    for directory in directories:
        owner = submission_owner(directory)
        if owner.conflict:
            lines.append(f"{directory.name}: {owner.conflict}. Taken for somebody else's.")
        elif not owner.is_account(account):
            by_user.setdefault(owner.user, []).append(directory.name)
    return [*(_of(user, names) for user, names in by_user.items()), *lines]


def refuse_foreign(directory: SubmissionDirectory, verb: str, consequence: str, is_meant: bool) -> str | None:
    """What it means to do this to somebody else's submission, one line; None for one's own.

    `consequence` holds {owner}, {account} and {directory}. Raises InputError with the line unless `is_meant`.
    """
    owner, account = submission_owner(directory), this_account()
    if owner.is_account(account):
        return None
    why = f" ({owner.conflict})" if owner.conflict else ""
    what = consequence.format(owner=owner.user, account=account.user, directory=directory.path)
    line = f"{verb} {directory.name}: belongs to {owner.user}{why}. {what}"
    if not is_meant:
        raise InputError(f"{line} Add --yes if you mean it.")
    return line


def _of(user: str, names: list[str]) -> str:
    many = len(names) > 1
    newest = ", the newest" if len(names) > SHOWN_IDS else ""
    shown = ", ".join(names[-SHOWN_IDS:])
    return f"{len(names)} submission{'s' if many else ''} of {user} {'are' if many else 'is'} here{newest}: {shown}."


def _recorded(directory: SubmissionDirectory) -> tuple[str, int]:
    """The user as recorded, fit to be shown; ("", -1) where none is, or nothing can be read."""
    written: Mapping[str, object] = {}
    for file in (directory.copy_file, directory.submission_file):  # the latter counts, if it is whole
        with suppress(StoreError, OSError):
            written = read_sealed(file) or written
    user, uid = written.get("user", ""), written.get("uid", -1)
    shown = "".join(each if each.isprintable() else "?" for each in str(user))
    return shown, uid if isinstance(uid, int) else -1


def _signs(directory: SubmissionDirectory) -> tuple[Path, ...]:
    return directory.submission_file, directory.copy_file, directory.path


def _uid_of(path: Path) -> int | None:
    return path.stat().st_uid if path.exists() else None
