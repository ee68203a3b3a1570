"""The check of the store's file system by the first job of a submission."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep.claims.file_system import Mount
from sweep.cli.show_status import read_status, show_status
from sweep.console import Console
from sweep.core.provenance import PROJECT
from sweep.slurm import lifecycle
from sweep.slurm import probe as probing
from sweep.slurm.probe import Probe, StoreUnusable, main, probe, skew, warnings_of
from sweep.slurm.submission import SubmissionDirectory
from sweep.store.directory import Store
from tests.support.submissions import fan, written

JOB = "01-start"
NFS = Mount("nfs", ("rw", "vers=3", "nolock", "local_lock=all"), Path("/data"))
SOUND = Probe("n1", "", "ext4", "/", ("rw",), None, "", True, 0.0, 100.0, None)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SubmissionDirectory:
    monkeypatch.setenv("PATH", "/usr/bin/nowhere")
    made = written(Store(tmp_path / "store"), fan())
    made.mark_sending(JOB, "toy-start-1")
    return made


def test_a_healthy_store_passes_the_probe_unchanged(directory: SubmissionDirectory) -> None:
    before = sorted(directory.path.rglob("*"))
    found = probe(directory.path, JOB, "n1")
    assert (found.locks, found.lock_option, found.is_visible) == ("", None, True)
    assert abs(found.skew_s) < 1
    assert list(directory.path.rglob(".probe*")) == [] and sorted(directory.path.rglob("*")) == before
    assert main(directory.path, JOB) == 0
    assert json.loads(directory.probe_file.read_text(encoding="utf-8"))["mounted_at"] == found.mounted_at


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        ({}, None),
        (
            {"lock_option": "nolock", "file_system": "nfs", "mounted_at": "/data"},
            "locks do not reach other machines (nfs at /data, nolock)",
        ),
        ({"locks": "two processes can hold the same lock"}, "locks: two processes can hold the same lock (ext4 at /)"),
        ({"is_visible": False}, "files of the submitting host are not visible after 3 s"),
        ({"skew_s": -90.2}, "the store's clock is -90 s off the node's"),
        ({"skew_s": 4.9, "free_inodes": 10_000, "free_gib": 10.0}, None),
        ({"free_gib": 0.25}, "0.2 GiB free"),
        ({"free_inodes": 1234}, "1,234 inodes free"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, object], warning: str | None) -> None:
    assert list(warnings_of(dataclasses.replace(SOUND, **changed))) == ([warning] if warning else [])  # type: ignore[arg-type]


def test_status_shows_the_warnings_of_the_probe(
    directory: SubmissionDirectory, monkeypatch: pytest.MonkeyPatch, golden: Callable[[str, str], None]
) -> None:
    monkeypatch.setattr(probing, "mount_of", lambda path: NFS)
    monkeypatch.setattr(probing, "flock", lambda file, operation: None)  # as a no-op from the kernel
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((4096, 4096, 0, 0, 9, 5, 1, 1, 0, 255)))
    assert main(directory.path, JOB) == 0
    console = Console(file=io.StringIO(), record=True, width=200)
    show_status(console, read_status(directory, lifecycle.submission_status(directory)))
    (line,) = [each for each in console.export_text().splitlines() if each.startswith("warning")]
    golden("slurm/probe.txt", line + "\n")


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("", "probe.json is damaged."),
        ('{"warnings": ["\\u001b[2J [bold]red"]}', "?[2J [bold]red."),
        ('{"warnings": 3}', None),
        ("{}", None),
    ],
)
def test_status_survives_whatever_is_in_the_probe(directory: SubmissionDirectory, content: str, shown: str) -> None:
    directory.probe_file.write_text(content, encoding="utf-8")
    console = Console(file=io.StringIO(), record=True, width=200)
    show_status(console, read_status(directory, lifecycle.submission_status(directory)))
    lines = [each for each in console.export_text().splitlines() if each.startswith("warning")]
    assert lines == ([f"warning: store, checked by the first job: {shown}"] if shown else [])


def test_clock_skew_is_the_distance_from_the_call_interval() -> None:
    assert [skew(10.0, stamped, 12.0) for stamped in (10.0, 11.0, 12.0, 9.5, 15.0)] == [0, 0, 0, -0.5, 3.0]


@pytest.mark.parametrize("refused", ["link", "mkdir", "replace", "open"])
def test_where_nothing_can_be_published_the_job_ends_with_one_line(
    directory: SubmissionDirectory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    refused: str,
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os if refused == "link" else Path, refused, refuse)
    monkeypatch.setattr(probing, "mount_of", lambda path: NFS)
    assert main(directory.path, JOB) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"store: {directory.path}/.probe-") and "(Read-only file system; nfs at /data, rw," in line
    assert not directory.probe_file.exists()


def test_a_file_system_whose_links_overwrite_is_refused(
    directory: SubmissionDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def over(first: Path, second: Path) -> None:
        second.write_bytes(first.read_bytes())

    monkeypatch.setattr(os, "link", over)
    with pytest.raises(StoreUnusable, match="two workers could publish one stage"):
        probe(directory.path, JOB, "n1")


def test_unsupported_locks_do_not_end_the_job(directory: SubmissionDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(probing, "flock", refuse)
    assert probe(directory.path, JOB, "n1").locks == "not supported, Function not implemented"


def test_an_invisible_file_of_the_submitting_host_is_a_warning(
    directory: SubmissionDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "APPEARS_WITHIN_S", 0.0)
    assert not probe(directory.path, "02-points", "n1").is_visible


def test_only_the_first_element_of_the_first_job_probes(directory: SubmissionDirectory, tmp_path: Path) -> None:
    """As in a batch script of the submission, with its own copy of slurm/job.sh."""
    script = "source slurm/job.sh; " + 'units cpu "$1"; printf "%s\\n" "${#UNITS[@]}"'

    def run(element: str, job: str) -> str:
        environment = {**os.environ, "SLURM_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": element, "PATH": "/usr/bin:/bin"}
        command = ["bash", "-c", script, "bash", str(directory.units(job))]
        done = subprocess.run(command, cwd=directory.code, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[-1]

    assert run("1", "02-points") == "1" and not directory.probe_file.exists()
    assert run("0", JOB) == "1" and directory.probe_file.exists()
    directory.probe_file.write_text("{}", encoding="utf-8")
    assert run("0", "02-points") == "1" and directory.probe_file.read_text(encoding="utf-8") == "{}"


def test_it_begins_within_a_moment() -> None:
    """On every node of a submission's first job: nothing heavy is imported."""
    code = "import sys, sweep.slurm.probe; print(*sorted(m for m in sys.modules if m.startswith('sweep.')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        *("sweep.claims", "sweep.claims.file_system", "sweep.errors", "sweep.json_files"),
        *("sweep.plain_values", "sweep.slurm", "sweep.slurm.probe"),
    ]
