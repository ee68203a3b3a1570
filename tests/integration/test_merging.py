"""Results are merged as a user does it: two scans become the one that has the points of both."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from s1.report.trace_archive import ArchivedTrace, TracePlace, open_archive
from sweep.cli.main import main
from tests.support.smoke import User

pytestmark = pytest.mark.slow
WAIT = "also=['budget.max_thinking_tokens=null budget.waits=1']"


@pytest.fixture(scope="module")
def user(smoke_scan: Path, tmp_path_factory: pytest.TempPathFactory) -> User:
    """Someone who scanned max 4, max 16 and Wait, later max 8 and max 32, and then all of these at once."""
    home = tmp_path_factory.mktemp("merging")
    shutil.copytree(smoke_scan / "store", home / "store", symlinks=True)
    shutil.copytree(smoke_scan / "results", home / "results", symlinks=True)
    made = User(home)
    for overrides in (("budget.max_thinking_tokens=8,32", "name=more"), ("budget.max_thinking_tokens=4,8,16,32", WAIT)):
        done = made.run(*overrides)
        assert done.returncode == 0, done.stdout + done.stderr
    return made


def merge(user: User, *words: str) -> int:
    return main(["merge", *words, "--store", str(user.store), "--results", str(user.results)])


def test_an_extended_scan_equals_the_one_that_was_made_at_once(user: User, capsys: pytest.CaptureFixture[str]) -> None:
    first = next(path.name for path in (user.results / "smoke").iterdir() if path.name not in ("latest", at_once(user)))
    assert merge(user, f"smoke/{first}", "more", "--name", "whole") == 0, capsys.readouterr().err
    merged = user.results / "whole" / "latest"
    for name in ("table.csv", "settling.csv", "grader_disagreement.csv"):
        assert (merged / name).read_bytes() == (user.results / "smoke" / "latest" / name).read_bytes(), name
    costs = list(csv.DictReader((merged / "costs.csv").read_text(encoding="utf-8").splitlines()))
    made = {row["name"] for row in costs if row["reused"] == "no"}
    assert made == {"curve", "trace_archive", "report"} and {row["reused"] for row in costs} == {"yes", "no"}
    assert all(row["spent_tokens"].isdecimal() for row in costs if row["name"] == "traces")  # 0: all was shared
    texts = [texts_in(folder / "traces") for folder in (merged, user.results / "smoke" / "latest")]
    assert texts[0] == texts[1] and len(texts[0]) == 5 * 12
    assert main(["show", "whole", "--question", "#0", "--store", str(user.store), "--results", str(user.results)]) == 0
    assert "found in the answer: " in capsys.readouterr().out


def texts_in(folder: Path) -> dict[tuple[str, TracePlace], ArchivedTrace]:
    archive = open_archive(folder)
    return {(archive.points[point].label, place): trace for point, place, trace in archive.traces()}


def at_once(user: User) -> str:
    return (user.results / "smoke" / "latest").readlink().name


def test_scores_that_were_pruned_are_named(user: User, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(user.store, tmp_path / "store", symlinks=True)
    pruned = next((tmp_path / "store" / "scores").iterdir())
    shutil.rmtree(pruned)
    places = ["--store", str(tmp_path / "store"), "--results", str(user.results)]
    assert main(["merge", "smoke", "more", *places]) == 1
    assert f"scores/{pruned.name} is no longer in the store. Run the command of the result" in capsys.readouterr().err
