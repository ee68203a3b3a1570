"""Submissions on the command line: selection, questions before submission, output."""

from __future__ import annotations

import dataclasses
import io
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep.claims.lock import LockMode, locked_now
from sweep.cli.main import perform
from sweep.cli.show_slurm import show_jobs
from sweep.cli.show_status import read_status, show_status
from sweep.cli.slurm import submit
from sweep.config.compose import Composition, Entry, compose_entry
from sweep.console import Console
from sweep.core.launch import JobSettings
from sweep.core.pipeline import CostEstimate, SweepRequest
from sweep.core.provenance import PROJECT
from sweep.core.stage import CodePolicy, Resources, Stage
from sweep.errors import InputError
from sweep.local.show import read_progress
from sweep.plan.graph import plan
from sweep.plan.planning import planned
from sweep.slurm import lifecycle
from sweep.slurm.jobs import script_work
from sweep.slurm.ownership import is_own
from sweep.slurm.preflight_jobs import preflight_jobs, with_preflight
from sweep.slurm.status import SlurmInfo, element_statuses
from sweep.slurm.submission import find_submission, store_argument, submissions
from sweep.store.directory import Store
from tests.support import toy_queue
from tests.support.submissions import LAUNCH, Queue, fan, written
from tests.support.toy_queue import make_stage


@pytest.fixture
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin/nowhere")


def test_the_newest_submission_is_the_default(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first, second = written(store, fan()), written(store, fan(2))
    assert find_submission(store.root, None, is_own).path == second.path
    assert find_submission(store.root, first.name, is_own).path == first.path
    with pytest.raises(InputError, match="not in"):
        find_submission(store.root, "nope", is_own)


def test_without_submissions_the_error_says_what_to_do(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for act in ("status", "resume", "cancel"):
        with pytest.raises(InputError) as raised:
            perform([act, f"store={store}"], Console(file=io.StringIO()))
        assert str(raised.value) == (f"no submissions in {store}. Submit one with launch=slurm, or give store=DIR.")


def test_commands_that_are_shown_name_the_store_unless_it_is_the_default_one(tmp_path: Path) -> None:
    assert store_argument(PROJECT / "store") == ""
    assert store_argument(tmp_path / "store") == f" store={tmp_path}/store"
    assert shlex.split(store_argument(Path("/a b,c/it's"))) == [r"store='/a b,c/it\'s'"]
    assert compose_entry(shlex.split(store_argument(Path("/a b,c/it's")))).store == Path("/a b,c/it's")
    said = io.StringIO()
    graph = toy_queue.graph(fan(), dataclasses.replace(LAUNCH, dry_run=True))
    entry = Entry("tests.support.toy_queue", tmp_path / "store", tmp_path / "results", plan=False, yes=True, also=())
    composition = Composition(entry, (), SweepRequest("toy", (), entry.store))
    submit(Console(file=said, width=400), graph, planned(graph, Store(entry.store)), composition)
    (directory,) = submissions(entry.store)
    assert f"to submit it: python -m sweep resume {directory.name} store={entry.store}\n" in said.getvalue()


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("{}", "failed.json is damaged"),
        ("torn{", "failed.json is damaged"),
        ("[1]", "failed.json is damaged"),
        ('{"message": null}', "failed.json is damaged"),
        ('{"message": "a\\nsecond: b\\r\\n c"}', "a second: b c"),
    ],
)
def test_status_survives_whatever_stands_in_the_files_of_a_stage(tmp_path: Path, content: str, shown: str) -> None:
    store = Store(tmp_path / "store")
    directory = written(store, fan())
    lifecycle.send_in_waves(directory, submit=Queue().submit)
    place = store.directory(make_stage("start", 1))
    place.failed_file.write_text(content, encoding="utf-8")
    directory.published_file.write_text(content, encoding="utf-8")
    failed = SlurmInfo("FAILED")
    disk = lifecycle.store_info(directory, directory.read())
    elements = element_statuses(directory.read().jobs, directory.ids(), disk, {"101": failed})
    said = io.StringIO()
    current = lifecycle.SubmissionStatus(directory.read(), tuple(elements), "squeue")
    show_status(Console(file=said, width=400), read_status(directory, current))
    (line,) = [each for each in said.getvalue().splitlines() if "  FAILED  " in each]
    assert shown in line
    assert not [each for each in said.getvalue().splitlines() if each.startswith("second")]
    assert "published: to an unknown folder" in said.getvalue()


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ('{"done": 1e400, "total": 1, "unit": "u"}', (0, 0, "")),
        ('{"done": NaN, "total": 1, "unit": "u"}', (0, 0, "")),
        ("[" * 100_000, (0, 0, "")),
        ('{"done": 3, "total": 5, "unit": "a\\nb"}', (3, 5, "a b")),
    ],
)
def test_progress_is_read_whatever_stands_there(tmp_path: Path, content: str, seen: tuple[int, int, str]) -> None:
    file = tmp_path / "progress.json"
    file.write_text(content, encoding="utf-8")
    assert read_progress(file) == seen
    assert read_progress(tmp_path) == (0, 0, "")


def test_cancel_requires_an_id_if_several_submissions_are_open(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first, second = written(store, fan()), written(store, fan(2))
    console = Console(file=io.StringIO())
    with pytest.raises(InputError, match=f"2 submissions are open. Name one: {first.name}, {second.name}"):
        perform(["cancel", f"store={store.root}"], console)
    assert perform(["cancel", first.name, f"store={store.root}"], console) == 0
    assert (first.is_open, second.is_open) == (False, True)
    assert perform(["cancel", f"store={store.root}"], console) == 0  # only one is left
    assert not second.is_open


def test_a_plan_above_the_limit_is_not_sent_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    product = fan()
    graph = dataclasses.replace(
        toy_queue.graph(product, LAUNCH), estimates={product.address: CostEstimate(usd=101.0, device_seconds=1.0)}
    )
    entry = Entry("tests.support.toy_queue", tmp_path / "store", tmp_path / "results", plan=False, yes=False, also=())
    composition = Composition(entry, (), SweepRequest("toy", (), entry.store))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(InputError, match=r"above launch.ask_above_usd 100\. Add yes=true"):
        submit(Console(file=io.StringIO()), graph, planned(graph, Store(composition.entry.store)), composition)
    assert not (tmp_path / "store").exists()


def test_a_job_that_would_be_signalled_as_it_starts_is_refused(tmp_path: Path) -> None:
    graph = toy_queue.graph(fan(), dataclasses.replace(LAUNCH, cpu=JobSettings(minutes=6), signal_seconds=300))
    entry = Entry("tests.support.toy_queue", tmp_path / "store", tmp_path / "results", plan=False, yes=True, also=())
    composition = Composition(entry, (), SweepRequest("toy", (), entry.store))
    dry = dataclasses.replace(graph, launch=dataclasses.replace(graph.launch, dry_run=True))
    with pytest.raises(InputError, match=r"signal_seconds 300: 01-start has 6 minutes.*launch.cpu.minutes"):
        submit(Console(file=io.StringIO()), dry, planned(dry, Store(composition.entry.store)), composition)
    assert not (tmp_path / "store").exists()


def test_a_dry_run_is_asked_about_before_it_is_sent(tmp_path: Path, no_slurm: None) -> None:
    places = [f"store={tmp_path / 'store'}", f"results={tmp_path / 'results'}"]

    def sweep(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "sweep", *words, *places], cwd=PROJECT, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    status, _ = sweep("+experiment=smoke", "launch=slurm", "launch.dry_run=true", "launch.ask_above_usd=0", "-m")
    assert status == 0
    status, said = sweep("resume")
    assert status == 1 and "Add yes=true to go on" in said
    status, said = sweep("resume", "--yes")
    assert status == 1 and "sbatch: not found here" in said
    assert find_submission(tmp_path / "store", None, is_own).ids() == {}


def test_a_dry_run_of_a_preflight_writes_its_scripts_without_slurm_and_hub(
    tmp_path: Path, no_slurm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    large = ("+experiment=s1_scan", "model=qwen3_8b", "machine=h100x8", "launch=slurm", "launch.dry_run=true", "-m")
    said = io.StringIO()
    assert perform(["preflight", *large, f"store={tmp_path / 'store'}"], Console(file=said, width=200)) == 0
    (directory,) = submissions(tmp_path / "store")
    assert said.getvalue().startswith(f"written, not submitted: {directory.path}\n")
    assert [path.name for path in sorted(directory.script("x").parent.glob("*.sbatch"))] == [
        "00-preflight-1.sbatch",
        "00-preflight-2.sbatch",
    ]
    assert directory.jobs_sent() == [] and not directory.is_open


def test_an_unpinned_dry_run_names_the_command_that_submits(tmp_path: Path) -> None:
    directory = written(Store(tmp_path / "store"), fan())
    typed = ("+experiment=smoke", "launch=slurm", "launch.dry_run=true", "-m")
    directory.write(dataclasses.replace(directory.read(), arguments=typed, unpinned=("some/model: not pinned.",)))
    with pytest.raises(InputError) as raised:
        perform(["resume", f"store={tmp_path / 'store'}"], Console(file=io.StringIO()))
    assert str(raised.value).endswith(": python -m sweep +experiment=smoke launch=slurm -m")


def test_two_cannot_resume_the_same_submission_at_once(tmp_path: Path) -> None:
    directory = written(Store(tmp_path / "store"), fan())
    with (
        locked_now(directory.path / "lock", LockMode.EXCLUSIVE),
        pytest.raises(InputError, match="another process is submitting, resuming or cancelling it"),
    ):
        perform(["resume", f"store={tmp_path / 'store'}"], Console(file=io.StringIO()))


def test_the_shape_of_the_queue_is_shown(golden: Callable[[str, str], None]) -> None:
    train = Stage(
        "checkpoint",
        1,
        toy_queue.Make(1),
        "a:b",
        resources=Resources("sft", nodes=2, devices=8, processes=8),
        code=CodePolicy.EXPENSIVE,
    )
    answers = [
        Stage(
            "answers",
            1,
            toy_queue.Make(n),
            "a:b",
            {"of": (train,)},
            resources=Resources("generate", devices=2),
            code=CodePolicy.EXPENSIVE,
        )
        for n in range(3)
    ]
    scores = [make_stage("scores", n, each) for n, each in enumerate(answers)]
    graph = toy_queue.graph(make_stage("report", 1, *scores), LAUNCH)
    said = io.StringIO()
    show_jobs(
        Console(file=said, width=120), lifecycle.queue_jobs(graph, plan([graph.artifact], lambda s: False)), LAUNCH
    )
    golden("slurm/shape.txt", said.getvalue())


def test_a_plan_behind_two_checks_in_waves_fits_80_columns(golden: Callable[[str, str], None]) -> None:
    launch = dataclasses.replace(
        LAUNCH,
        defaults=JobSettings(account="lab", partition="main"),
        generate=JobSettings(partition="gpu", qos="long", constraint="[rack1*2&(nvlink|h100)]"),
        sft=JobSettings(partition="never-used"),
    )
    graph, checks = toy_queue.graph(fan(), launch), [make_stage("check", n) for n in range(2)]
    jobs = lifecycle.queue_jobs(graph, plan([graph.artifact], lambda s: False))
    said = io.StringIO()
    show_jobs(
        Console(file=said, width=80), with_preflight(jobs, preflight_jobs(checks, launch, lambda: ())), launch, limit=5
    )
    golden("slurm/waves.txt", said.getvalue())
    assert max(map(len, said.getvalue().splitlines())) <= 80
    assert "…" not in said.getvalue()


def test_a_script_makes_its_own_share_and_names_what_stands_before_the_rest() -> None:
    start = make_stage("start", 1)
    train = Stage(
        "checkpoint",
        1,
        toy_queue.Make(1),
        "a:b",
        {"of": (start,)},
        resources=Resources("sft"),
        code=CodePolicy.EXPENSIVE,
    )
    answers = Stage(
        "answers",
        1,
        toy_queue.Make(2),
        "a:b",
        {"of": (train, make_stage("questions", 3))},
        resources=Resources("generate"),
        code=CodePolicy.EXPENSIVE,
    )
    work = plan([make_stage("report", 4, answers)], lambda stage: False)

    def shares(script: str) -> tuple[list[str], list[str], list[str]]:
        share = script_work(work, script, "cpu")
        own = [stage.name for unit in share.units for stage in unit.stages]
        return [each.name for each in share.here], own, [each.name for each in share.later]

    assert shares("sft") == (["start"], ["checkpoint"], ["answers"])
    assert shares("generate") == ([], [], ["checkpoint"])
    assert shares("cpu") == (["start", "questions"], [], ["checkpoint"])
