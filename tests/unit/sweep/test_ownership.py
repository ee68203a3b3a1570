"""Owners of submissions in a shared store. Other users are simulated with chown, which only root may do."""

from __future__ import annotations

import io
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep.cli.main import perform
from sweep.console import Console
from sweep.errors import InputError
from sweep.json_files import CHECKSUM
from sweep.slurm import client, lifecycle
from sweep.slurm.ownership import foreign_lines, is_own, submission_owner, this_account
from sweep.slurm.status import SlurmInfo, Verdict
from sweep.slurm.submission import SubmissionDirectory, submissions
from sweep.store.directory import Store
from tests.support.submissions import fan, written

DAEMON = pwd.getpwnam("daemon")
NOBODY = pwd.getpwnam("nobody")
root_alone = pytest.mark.skipif(os.geteuid() != 0, reason="to give files away one has to be root")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PATH", "/usr/bin/nowhere")  # no SLURM
    return Store(tmp_path / "store")


def give(directory: SubmissionDirectory, to: pwd.struct_passwd, recorded: bool = True) -> SubmissionDirectory:
    """As if that user had submitted it."""
    if recorded:
        record(directory, user=to.pw_name, uid=to.pw_uid)
    for path in [directory.path, *directory.path.rglob("*")]:
        os.lchown(path, to.pw_uid, to.pw_gid)
    return directory


def record(directory: SubmissionDirectory, **facts: object) -> None:
    """Write these into submission.json; None takes one out."""
    content = {**json.loads(directory.submission_file.read_text(encoding="utf-8")), **facts, CHECKSUM: None}
    text = json.dumps({name: value for name, value in content.items() if value is not None})
    directory.submission_file.write_text(text, encoding="utf-8")


def said_by(act: str, store: Store, *words: str, exit_status: int = 0) -> str:
    console = Console(file=io.StringIO(), width=200, highlight=False)
    assert perform([act, *words, f"store={store.root}"], console) == exit_status
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_submission_records_its_user_and_host(store: Store) -> None:
    submission = written(store, fan()).read()
    account = this_account()
    assert (submission.user, submission.uid, submission.host) == (account.user, os.geteuid(), account.host)
    assert account.user == pwd.getpwuid(os.geteuid()).pw_name


def test_a_submission_without_recorded_user_belongs_to_its_file_owner(store: Store) -> None:
    directory = written(store, fan())
    record(directory, user=None, uid=None, host=None)
    assert directory.read().user == ""
    assert is_own(directory)
    assert directory.name in said_by("status", store, exit_status=Verdict.FAILED)


@pytest.mark.slow
@root_alone
def test_without_an_id_your_newest_submission_is_used(store: Store) -> None:
    mine = written(store, fan())
    theirs = [give(written(store, fan(n)), DAEMON) for n in (1, 2)]
    record(theirs[0], user=None, uid=None)  # as of before
    said = said_by("status", store, exit_status=Verdict.FAILED)
    assert said.startswith(mine.name)
    assert said.rstrip().endswith(f"2 submissions of daemon are here: {theirs[0].name}, {theirs[1].name}.")
    named = said_by("status", store, theirs[0].name, exit_status=Verdict.FAILED)  # a look needs the id alone
    assert named.startswith(theirs[0].name) and "submissions of" not in named
    assert said_by("logs", store).count("nothing printed yet") == 6 and said_by("logs", store, theirs[0].name)
    said_by("cancel", store)
    assert [each.is_open for each in (mine, *theirs)] == [False, True, True]


@root_alone
def test_an_id_is_required_if_all_submissions_are_foreign(store: Store) -> None:
    theirs = [give(written(store, fan()), DAEMON) for _ in range(5)]
    newest = ", ".join(each.name for each in theirs[-3:])
    for act in ("status", "logs", "resume", "cancel"):
        with pytest.raises(InputError) as raised:
            said_by(act, store)
        assert str(raised.value) == (
            f"submission: none of yours in {store.root}. 5 submissions of daemon are here, the newest: {newest}."
            " Name one."
        )


@root_alone
def test_the_affected_accounts_are_reported_before_acting(store: Store, golden: Callable[[str, str], None]) -> None:
    theirs = give(written(store, fan()), DAEMON)
    account, lines = this_account(), []
    for act in ("resume", "cancel"):
        for words in ((theirs.name,), (theirs.name, "yes=false")):
            with pytest.raises(InputError) as raised:
                said_by(act, store, *words)
        lines.append(str(raised.value))
    assert theirs.is_open
    lines += said_by("cancel", store, theirs.name, "yes=true").splitlines()
    assert not theirs.is_open
    text = "\n".join(lines).replace(str(theirs.path), "STORE/ID").replace(theirs.name, "ID")
    golden("slurm/foreign.txt", text.replace(f"account of {account.user}", "account of alice") + "\n")


@root_alone
@pytest.mark.parametrize(
    ("facts", "part"),
    [
        ({"user": "root", "uid": 0}, None),  # written by daemon, to be taken for root's
        ({"user": "root", "uid": DAEMON.pw_uid}, "submission.json"),
        ({}, "code"),  # the code that would run is somebody else's to change
        ({}, ""),
    ],
)
def test_conflicting_owners_are_reported_and_make_a_submission_foreign(
    store: Store, facts: dict[str, object], part: str | None
) -> None:
    directory = written(store, fan())
    if part is None:
        give(directory, DAEMON, recorded=False)
    elif part != "submission.json":
        os.chown(directory.path / part, DAEMON.pw_uid, DAEMON.pw_gid)
    record(directory, **facts)
    assert not is_own(directory)
    (line,) = foreign_lines(submissions(store.root))
    assert "daemon" in line or f"uid {DAEMON.pw_uid}" in line
    assert line.startswith(f"{directory.name}: ")
    with pytest.raises(InputError, match="none of yours"):
        said_by("resume", store)
    with pytest.raises(InputError, match="Add --yes"):
        said_by("resume", store, directory.name)


def test_a_name_with_escape_codes_is_shown_without_them(store: Store) -> None:
    directory = written(store, fan())
    record(directory, user="\x1b[2Jeve", uid=os.geteuid())
    assert "?[2Jeve" in submission_owner(directory).conflict


def test_a_file_that_cannot_be_read_belongs_to_its_owner(store: Store) -> None:
    directory = written(store, fan())
    directory.submission_file.write_text("{", encoding="utf-8")
    assert submission_owner(directory).uid == os.geteuid()


@root_alone
def test_queued_jobs_of_other_submissions_are_dependencies(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = give(written(store, fan()), NOBODY)
    theirs.record_id("01-start", "17")
    monkeypatch.setattr(client, "queued_jobs", lambda ids: {each: SlurmInfo("RUNNING") for each in ids})
    assert [each.job_id for each in lifecycle.queued_elsewhere(store.root)] == ["17"]
