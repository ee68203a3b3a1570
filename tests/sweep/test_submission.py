"""What is written for a queue before anything is sent, and what the disk alone can tell afterwards."""

from __future__ import annotations

import dataclasses
import io
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from s1.config import EngineKind
from s1.generate.engines import installed
from sweep.attempt import begin
from sweep.compose import Composition, Entry, compose_entry
from sweep.contract import Estimate, Launch, LaunchKind, Request
from sweep.errors import InputError
from sweep.launch import slurm, slurm_queue
from sweep.launch.by_script import share_of
from sweep.launch.export import export
from sweep.launch.ownership import is_own
from sweep.launch.slurm_state import Seen, standings
from sweep.launch.submission import SubmissionDirectory, store_word, submissions, the_submission
from sweep.lock import Hold, locked_now
from sweep.plan import plan
from sweep.planning import planned
from sweep.provenance import PROJECT, git_state
from sweep.prune import prune
from sweep.publish import publish
from sweep.queueing import cancel, resume, status, submit
from sweep.show import read_progress
from sweep.show_slurm import show_jobs, show_situation
from sweep.stage import CodePolicy, FileInput, Resources, Stage
from sweep.store import Store, read_json
from tests.slurm import toys
from tests.slurm.toys import make_stage

LAUNCH = Launch(LaunchKind.SLURM, minutes={"cpu": 30, "sft": 90}, max_array_size=1001, partition="main", throttle=2)


PROVENANCE = {"git": {"commit": None}, "packages": {}}


class Queue:
    """Takes scripts as sbatch does, and remembers."""

    def __init__(self, refuse_at: int | None = None) -> None:
        self.sent: list[tuple[str, str | None]] = []
        self.refuse_at = refuse_at

    def submit(self, script: Path, arguments: Sequence[str], dependency: str | None) -> str:
        if len(self.sent) == self.refuse_at:
            raise InputError("sbatch: refused.")
        self.sent.append((script.stem, dependency))
        return str(100 + len(self.sent))


@pytest.fixture
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin/nowhere")


def fan(points: int = 3) -> Stage:
    start = make_stage("start", 1)
    return make_stage("total", 0, *(make_stage("points", n, start) for n in range(points)))


def written(store: Store, product: Stage, launch: Launch = LAUNCH) -> SubmissionDirectory:
    graph, work = toys.graph(product, launch), plan([product], store.is_done)
    order = slurm.Order("python -m sweep toy", ("toy",), Path.cwd(), store.root / "results")
    return SubmissionDirectory(slurm.write_submission(graph, work, slurm.queue_shape(graph, work), store, order))


def test_everything_is_written_before_anything_is_sent(tmp_path: Path) -> None:
    store, product = Store(tmp_path / "store"), fan()
    directory = written(store, product)
    assert [job.name for job in directory.read().jobs] == ["01-start", "02-points", "03-total", "04-publish"]
    assert all(directory.script(job.name).exists() for job in directory.read().jobs)
    lines = directory.units("02-points").read_text(encoding="utf-8").splitlines()
    places = [store.directory(make_stage("points", n, make_stage("start", 1))).path for n in range(3)]
    assert lines == [f"{index}\t{place}" for index, place in enumerate(places)]
    assert all((place / "stage.json").exists() for place in places)
    log = places[1] / "log.txt"
    assert log.is_symlink() and log.resolve() == (directory.logs / "02-points_1.txt").resolve()


def test_a_submission_reads_back_as_it_was_written(tmp_path: Path) -> None:
    directory = written(Store(tmp_path / "store"), fan())
    submission = directory.read()
    directory.write(submission)
    assert directory.read() == submission
    assert submission.launch == LAUNCH


def test_jobs_are_sent_inputs_first_and_each_waits_for_its_own(tmp_path: Path) -> None:
    directory, queue = written(Store(tmp_path / "store"), fan()), Queue()
    ids = slurm.send(directory, directory.read().jobs, queue.submit)
    assert queue.sent == [
        ("01-start", None),
        ("02-points", "afterok:101"),
        ("03-total", "afterok:102"),
        ("04-publish", "afterok:103"),
    ]
    assert directory.ids() == ids


def test_a_refused_job_takes_those_before_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[str] = []
    monkeypatch.setattr(slurm_queue, "cancel", cancelled.extend)
    monkeypatch.setattr(slurm_queue, "find", lambda name: None)
    directory = written(Store(tmp_path / "store"), fan())
    with pytest.raises(InputError, match="refused"):
        slurm.send(directory, directory.read().jobs, Queue(refuse_at=2).submit)
    assert cancelled == ["101", "102"]


def test_without_slurm_the_disk_is_read_and_that_is_said(tmp_path: Path, no_slurm: None) -> None:
    directory = written(Store(tmp_path / "store"), fan())
    slurm.send(directory, directory.read().jobs, Queue().submit)
    situation = slurm.look(directory)
    assert {each.state.value for each in situation.elements} == {"unknown"}
    said = io.StringIO()
    show_situation(Console(file=said, width=150), directory, situation)
    assert "no squeue answers here" in said.getvalue()


def test_others_are_looked_at_with_one_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps that failed and were left stay open: a plan must not ask about every job of every one of them."""
    asked: list[str] = []

    def ask(*command: str) -> str:
        asked.append(command[0])
        return ""

    monkeypatch.setattr(slurm_queue, "_ask", ask)
    store = Store(tmp_path / "store")
    for _ in range(3):
        directory = written(store, fan())
        slurm.send(directory, directory.read().jobs, Queue().submit)
    assert slurm.elsewhere(store.root) == []
    assert asked == ["squeue"]


def test_the_code_goes_with_it(tmp_path: Path) -> None:
    code = tmp_path / "code"
    export(code, Launch(), threads=3)
    assert read_json(code / "exported.json") == git_state()
    assert (code / "sweep" / "run.py").exists() and (code / "conf" / "config.yaml").exists()
    assert not (code / "results").exists() and not (code / ".git").exists()
    assert "export OMP_NUM_THREADS=3\n" in (code / "slurm" / "site.sh").read_text(encoding="utf-8")


def test_the_site_chooses_the_interpreter_and_the_sweep_where_its_models_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models were fetched in the environment of the login node: jobs that looked elsewhere would find none."""
    monkeypatch.setenv("HF_HOME", "/shared/hugging face")
    site = tmp_path / "site.sh"
    site.write_text("PYTHON=/other/python\nexport HF_HOME=/elsewhere OMP_NUM_THREADS=64\n", encoding="utf-8")
    export(tmp_path / "code", Launch(site=str(site)), threads=3)
    ask = 'source slurm/site.sh; printf "%s|" "$PYTHON" "$HF_HOME" "$OMP_NUM_THREADS"'
    told = subprocess.run(["bash", "-c", ask], cwd=tmp_path / "code", capture_output=True, text=True, check=True).stdout
    assert told == "/other/python|/shared/hugging face|3|"
    export(tmp_path / "plain", Launch(), threads=1)
    assert f"PYTHON={sys.executable} " in (tmp_path / "plain" / "slurm" / "site.sh").read_text(encoding="utf-8")


def test_a_site_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        export(tmp_path / "code", Launch(site=str(tmp_path / "no.sh")), threads=1)


def test_files_of_the_project_are_read_from_the_exported_code(tmp_path: Path) -> None:
    own = FileInput.of(Path(slurm.PROJECT) / "sweep" / "run.py")
    foreign = tmp_path / "rows.jsonl"
    foreign.write_text("{}", encoding="utf-8")
    stage = Stage("s", 1, toys.Make(1), "a:b", {"file": (own, FileInput.of(foreign))}, code=CodePolicy.EXPENSIVE)
    store = Store(tmp_path / "store")
    directory = written(store, stage)
    places = store.directory(stage).read_stage()["inputs"]["file"]
    assert [place["file"] for place in places] == [str(directory.code / "sweep" / "run.py"), str(foreign)]
    assert [place["key"] for place in places] == [each.key for each in stage.inputs["file"]]  # type: ignore[union-attr]


def test_what_is_queued_or_not_yet_published_is_not_pruned(tmp_path: Path) -> None:
    store, product = Store(tmp_path / "store"), fan()
    directory = written(store, product)
    assert not prune(store, tmp_path / "results", yes=True, unfinished=True).gone
    directory.mark(directory.closed_file, why="cancelled")
    gone = prune(store, tmp_path / "results", yes=True, unfinished=True).gone
    assert {each.place.partition("/")[0] for each in gone} == {"start", "points", "total"}


def test_two_that_publish_the_same_result_at_once_leave_it_whole(tmp_path: Path) -> None:
    """As the last jobs of the same command, submitted twice: they wait for the same report."""
    store, product = Store(tmp_path / "store"), make_stage("total", 1)
    directory = store.prepare(product)
    attempt = begin(directory)
    for number in range(60):
        (attempt.out / f"{number}.txt").write_text("whole", encoding="utf-8")
    attempt.publish({"seconds": 1.0, "usd": 0.0, "summary": {}, "finished_at": "", "provenance": PROVENANCE})
    graph, results = toys.graph(product, LAUNCH), tmp_path / "results"
    with ThreadPoolExecutor(8) as pool:
        for published in [pool.submit(publish, graph, store, results) for _ in range(8)]:
            published.result()
    folder = results / graph.name
    assert {path.name for path in folder.iterdir()} == {product.key, "latest"}
    assert len(list((folder / "latest").glob("*.txt"))) == 60


def test_the_newest_submission_is_meant_unless_one_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first, second = written(store, fan()), written(store, fan(2))
    assert the_submission(store.root, None, is_own).path == second.path
    assert the_submission(store.root, first.name, is_own).path == first.path
    with pytest.raises(InputError, match="not in"):
        the_submission(store.root, "nope", is_own)


def test_without_any_submission_it_is_said_what_to_do(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for act in (status, resume, cancel):
        with pytest.raises(InputError) as raised:
            act([f"store={store}"], Console(file=io.StringIO()))
        assert str(raised.value) == (f"no submissions in {store}. Submit one with launch=slurm, or give store=DIR.")


def test_commands_that_are_shown_name_the_store_unless_it_is_the_default_one(tmp_path: Path) -> None:
    assert store_word(PROJECT / "store") == ""
    assert store_word(tmp_path / "store") == f" store={tmp_path}/store"
    assert shlex.split(store_word(Path("/a b,c/it's"))) == [r"store='/a b,c/it\'s'"]
    assert compose_entry(shlex.split(store_word(Path("/a b,c/it's")))).store == Path("/a b,c/it's")
    said = io.StringIO()
    graph = toys.graph(fan(), dataclasses.replace(LAUNCH, dry_run=True))
    entry = Entry("tests.slurm.toys", tmp_path / "store", tmp_path / "results", plan=False, yes=True, also=())
    composition = Composition(entry, (), Request("toy", {}, (), entry.store))
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
    slurm.send(directory, directory.read().jobs, Queue().submit)
    place = store.directory(make_stage("start", 1))
    place.failed_file.write_text(content, encoding="utf-8")
    directory.published_file.write_text(content, encoding="utf-8")
    failed = Seen("FAILED")
    disk = slurm.look_at_disk(directory, directory.read())
    elements = standings(directory.read().jobs, directory.ids(), disk, {"101": failed})
    said = io.StringIO()
    show_situation(
        Console(file=said, width=400), directory, slurm.Situation(directory.read(), tuple(elements), "squeue")
    )
    (line,) = [each for each in said.getvalue().splitlines() if each.lstrip().startswith("failed")]
    assert shown in line
    assert not [each for each in said.getvalue().splitlines() if each.startswith("second")]
    assert "published: where cannot be read any more" in said.getvalue()


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


def test_of_several_open_submissions_the_one_to_cancel_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first, second = written(store, fan()), written(store, fan(2))
    console = Console(file=io.StringIO())
    with pytest.raises(InputError, match=f"which one. Name it: {first.name}, {second.name}"):
        cancel([f"store={store.root}"], console)
    assert cancel([first.name, f"store={store.root}"], console) == 0
    assert (first.is_open, second.is_open) == (False, True)
    assert cancel([f"store={store.root}"], console) == 0  # only one is left
    assert not second.is_open


def test_a_plan_above_the_limit_is_not_sent_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    product = fan()
    graph = dataclasses.replace(
        toys.graph(product, LAUNCH), estimates={product.address: Estimate(usd=101.0, device_seconds=1.0)}
    )
    entry = Entry("tests.slurm.toys", tmp_path / "store", tmp_path / "results", plan=False, yes=False, also=())
    composition = Composition(entry, (), Request("toy", {}, (), entry.store))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(InputError, match="Add yes=true to submit"):
        submit(Console(file=io.StringIO()), graph, planned(graph, Store(composition.entry.store)), composition)
    assert not (tmp_path / "store").exists()


def test_a_job_that_would_be_told_to_stop_as_it_starts_is_refused(tmp_path: Path) -> None:
    graph = toys.graph(fan(), dataclasses.replace(LAUNCH, minutes={"cpu": 6}, signal_seconds=300))
    entry = Entry("tests.slurm.toys", tmp_path / "store", tmp_path / "results", plan=False, yes=True, also=())
    composition = Composition(entry, (), Request("toy", {}, (), entry.store))
    dry = dataclasses.replace(graph, launch=dataclasses.replace(graph.launch, dry_run=True))
    with pytest.raises(InputError, match=r"signal_seconds 300: 01-start has 6 minutes.*launch.minutes.cpu"):
        submit(Console(file=io.StringIO()), dry, planned(dry, Store(composition.entry.store)), composition)
    assert not (tmp_path / "store").exists()


def test_a_dry_run_is_asked_about_before_it_is_sent(tmp_path: Path, no_slurm: None) -> None:
    places = [f"store={tmp_path / 'store'}", f"results={tmp_path / 'results'}"]

    def sweep(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "sweep", *words, *places], cwd=PROJECT, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout

    status, _ = sweep("+experiment=smoke", "launch=slurm", "launch.dry_run=true", "launch.ask_above_usd=0", "-m")
    assert status == 0
    status, said = sweep("resume")
    assert status == 1 and "Add yes=true to submit" in said
    status, said = sweep("resume", "yes=true")
    assert status == 1 and "sbatch: not found here" in said
    assert the_submission(tmp_path / "store", None, is_own).ids() == {}


@pytest.mark.skipif(installed(EngineKind.VLLM)["vllm"] is not None, reason="vLLM is installed here")
def test_a_dry_run_is_written_where_the_engine_is_not_installed_and_is_not_sent_from_there(
    tmp_path: Path, no_slurm: None
) -> None:
    def sweep(*words: str) -> tuple[int, str]:
        places = [f"store={tmp_path / 'store'}", f"results={tmp_path / 'results'}"]
        done = subprocess.run(
            [sys.executable, "-m", "sweep", *words, *places], cwd=PROJECT, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    command = ("+experiment=smoke", "engine=vllm", "launch=slurm")
    status, said = sweep(*command, "launch.dry_run=true", "-m")
    assert status == 0, said
    assert "vllm: not installed, and engine=vllm computes with it." in said
    assert "to submit it: install what is not here, as jobs use this environment, then give the command again." in said
    assert list(the_submission(tmp_path / "store", None, is_own).path.glob("**/*.sbatch"))
    status, said = sweep("resume", "yes=true")
    assert status == 1 and "its jobs use this environment. Then give its command again" in said
    status, said = sweep(*command, "-m")
    assert status == 1 and "vllm: not installed" in said


def test_two_cannot_resume_the_same_submission_at_once(tmp_path: Path) -> None:
    directory = written(Store(tmp_path / "store"), fan())
    with (
        locked_now(directory.path / "lock", Hold.ALONE),
        pytest.raises(InputError, match="being sent, resumed or cancelled elsewhere"),
    ):
        resume([f"store={tmp_path / 'store'}"], Console(file=io.StringIO()))


def test_the_shape_of_the_queue_is_shown(golden: Callable[[str, str], None]) -> None:
    train = Stage(
        "checkpoint",
        1,
        toys.Make(1),
        "a:b",
        resources=Resources("sft", nodes=2, devices=8, processes=8),
        code=CodePolicy.EXPENSIVE,
    )
    answers = [
        Stage(
            "answers",
            1,
            toys.Make(n),
            "a:b",
            {"of": (train,)},
            resources=Resources("generate", devices=2),
            code=CodePolicy.EXPENSIVE,
        )
        for n in range(3)
    ]
    scores = [make_stage("scores", n, each) for n, each in enumerate(answers)]
    graph = toys.graph(make_stage("report", 1, *scores), LAUNCH)
    said = io.StringIO()
    show_jobs(Console(file=said, width=120), slurm.queue_shape(graph, plan([graph.product], lambda s: False)), LAUNCH)
    golden("slurm/shape.txt", said.getvalue())


def test_a_script_makes_its_own_share_and_names_what_stands_before_the_rest() -> None:
    start = make_stage("start", 1)
    train = Stage(
        "checkpoint", 1, toys.Make(1), "a:b", {"of": (start,)}, resources=Resources("sft"), code=CodePolicy.EXPENSIVE
    )
    answers = Stage(
        "answers",
        1,
        toys.Make(2),
        "a:b",
        {"of": (train, make_stage("questions", 3))},
        resources=Resources("generate"),
        code=CodePolicy.EXPENSIVE,
    )
    work = plan([make_stage("report", 4, answers)], lambda stage: False)

    def shares(script: str) -> tuple[list[str], list[str], list[str]]:
        share = share_of(work, script, "cpu")
        own = [stage.name for unit in share.units for stage in unit.stages]
        return [each.name for each in share.here], own, [each.name for each in share.later]

    assert shares("sft") == (["start"], ["checkpoint"], ["answers"])
    assert shares("generate") == ([], [], ["checkpoint"])
    assert shares("cpu") == (["start", "questions"], [], ["checkpoint"])


def test_what_is_written_holds_no_secret_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "whisper-" * 3  # not written out: this file may be in the diff
    monkeypatch.setenv("WANDB_API_KEY", secret)
    monkeypatch.setenv("HF_TOKEN", secret)
    directory = written(Store(tmp_path / "store"), fan())
    files = [path for path in directory.path.rglob("*") if path.is_file()]
    assert not [path for path in files if secret in path.read_text(encoding="utf-8", errors="replace")]
    assert json.loads(directory.submission_file.read_text(encoding="utf-8"))["command"] == "python -m sweep toy"
