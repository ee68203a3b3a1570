"""The files written before submission, and the status that they give without SLURM."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from sweep.cli.main import perform
from sweep.cli.show_status import read_status, show_status
from sweep.console import Console
from sweep.core.launch import JobSettings, Launch
from sweep.core.provenance import git_state
from sweep.core.stage import CodePolicy, FileInput, Stage
from sweep.errors import InputError
from sweep.json_files import CHECKSUM, sealed, write_json
from sweep.maintenance.prune import prune
from sweep.results.publish import publish
from sweep.slurm import client, lifecycle
from sweep.slurm.dispatch import read_waves
from sweep.slurm.export import export
from sweep.slurm.jobs import Element
from sweep.slurm.retry import QueueFull
from sweep.slurm.sbatch import ALL_MEMORY
from sweep.slurm.site_answers import Partition
from sweep.slurm.status import ElementState, ElementStatus, SlurmInfo, Verdict, verdict
from sweep.slurm.submission import SubmissionDirectory
from sweep.store.attempt import begin
from sweep.store.directory import StageDirectory, Store, read_json
from tests.support import toy_queue
from tests.support.records import record_with
from tests.support.submissions import LAUNCH, PROVENANCE, Queue, fan, written
from tests.support.toy_queue import make_stage


@pytest.fixture
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin/nowhere")


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
    ids = lifecycle.send_in_waves(directory, submit=queue.submit).ids
    assert queue.sent == [
        ("01-start", None),
        ("02-points", "afterok:101"),
        ("03-total", "afterok:102"),
        ("04-publish", "afterok:103"),
    ]
    assert directory.ids() == ids


@pytest.mark.parametrize(("longest", "limit"), [(60, "0-01:00:00"), (None, "0-02:00:00")])
def test_no_job_asks_for_more_than_its_partition_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: int | None, limit: str
) -> None:
    """Nor does the job that sends the next wave: it would wait for ever."""
    monkeypatch.setattr(lifecycle, "partitions_here", lambda: (Partition("main", minutes=longest),))
    monkeypatch.setattr(client, "own_elements", lambda: 0)
    launch = replace(LAUNCH, cpu=JobSettings(minutes=120), max_submit_jobs=4)
    directory, queue = written(Store(tmp_path / "store"), fan(8), launch), Queue()
    lifecycle.send_in_waves(directory, submit=queue.submit)
    sent = [name for name, _ in queue.sent]
    assert sent[0] == "01-start" and sent[-1] == "w1-feed"
    for name in sent:
        assert f"\n#SBATCH --time={limit}\n" in directory.script(name).read_text(encoding="utf-8")


def test_a_refused_job_cancels_the_jobs_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[str] = []
    monkeypatch.setattr(client, "scancel", cancelled.extend)
    monkeypatch.setattr(client, "find_job", lambda name: None)
    directory = written(Store(tmp_path / "store"), fan())
    with pytest.raises(InputError, match="refused"):
        lifecycle.send_in_waves(directory, submit=Queue(refuse_at=2).submit)
    assert cancelled == ["101", "102"]


def test_without_slurm_status_comes_from_the_store_and_says_so(tmp_path: Path, no_slurm: None) -> None:
    directory = written(Store(tmp_path / "store"), fan())
    lifecycle.send_in_waves(directory, submit=Queue().submit)
    status = lifecycle.submission_status(directory)
    assert {each.state.value for each in status.elements} == {"unknown"}
    said = io.StringIO()
    show_status(Console(file=said, width=150), read_status(directory, status))
    assert "no squeue answers here" in said.getvalue()
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None, record=True)
    assert perform(["status", f"store={directory.store}"], console) == Verdict.UNKNOWN
    lines = console.export_text().splitlines()
    assert any(line.startswith("102_[0-2]  unknown") for line in lines) and max(map(len, lines)) <= 60


@pytest.mark.parametrize("state", [ElementState.FAILED, ElementState.RUNNING])
def test_the_stage_of_a_packed_element_that_failed_is_read(tmp_path: Path, state: ElementState) -> None:
    directory = written(Store(tmp_path / "store"), fan())
    points = directory.read().jobs[1]
    packed = Element(tuple(step for each in points.elements for step in each.steps), ())
    failed = StageDirectory(directory.store / packed.stages[1])
    write_json(failed.failed_file, {"error": "e", "message": "seed 1: bad", "traceback": ""})
    status = ElementStatus(points.name, 0, packed, "17_0", state, SlurmInfo(state.name))
    (shown,) = read_status(directory, lifecycle.SubmissionStatus(directory.read(), (status,), "squeue")).elements
    assert (shown.failed, shown.message) == ((packed.stages[1],), "seed 1: bad")


def test_other_submissions_are_checked_with_one_squeue_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps that failed and were left stay open: a plan must not ask about every job of every one of them."""
    asked: list[str] = []

    def ask(*command: str) -> str:
        asked.append(command[0])
        return ""

    monkeypatch.setattr(client, "_query", ask)
    store = Store(tmp_path / "store")
    for _ in range(3):
        directory = written(store, fan())
        lifecycle.send_in_waves(directory, submit=Queue().submit)
    asked.clear()
    assert lifecycle.queued_elsewhere(store.root) == []
    assert asked == ["squeue"]


def test_the_code_goes_with_it(tmp_path: Path) -> None:
    code = tmp_path / "code"
    export(code, Launch())
    assert read_json(code / "exported.json") == git_state()
    assert (code / "sweep" / "worker" / "run.py").exists() and (code / "conf" / "config.yaml").exists()
    assert not (code / "results").exists() and not (code / ".git").exists()


def test_the_site_chooses_the_interpreter_and_the_sweep_where_its_models_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models were fetched in the environment of the login node: jobs that looked elsewhere would find none."""
    monkeypatch.setenv("HF_HOME", "/shared/hugging face")
    site = tmp_path / "site.sh"
    site.write_text("PYTHON=/other/python\nexport HF_HOME=/elsewhere OMP_NUM_THREADS=64\n", encoding="utf-8")
    export(tmp_path / "code", Launch(site=str(site)))
    ask = 'source slurm/site.sh; printf "%s|" "$PYTHON" "$HF_HOME" "$OMP_NUM_THREADS"'
    told = subprocess.run(["bash", "-c", ask], cwd=tmp_path / "code", capture_output=True, text=True, check=True).stdout
    assert told == "/other/python|/shared/hugging face|64|"
    export(tmp_path / "plain", Launch())
    assert f"PYTHON={sys.executable} " in (tmp_path / "plain" / "slurm" / "site.sh").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "said"), [(None, "no such file. Copy "), (b"\xff", "cannot be read, it is not UTF-8 text. Repair")]
)
def test_a_site_file_that_cannot_be_read_is_refused_before_anything_is_written(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    site = tmp_path / "site.sh"
    if content is not None:
        site.write_bytes(content)
    with pytest.raises(InputError, match=rf"^launch.site '{site}': {said}"):
        written(Store(tmp_path / "store"), fan(), replace(LAUNCH, site=str(site)))
    assert not (tmp_path / "store").exists()


def test_a_plan_refuses_a_site_file_that_is_not_there(tmp_path: Path, no_slurm: None) -> None:
    smoke = ("+experiment=smoke", "launch=slurm", f"launch.site={tmp_path}/no.sh", f"store={tmp_path}/store", "-m")
    with pytest.raises(InputError, match=r"launch.site .*: no such file"):
        perform(["plan", *smoke], Console(file=io.StringIO()))


def test_files_of_the_project_are_read_from_the_exported_code(tmp_path: Path) -> None:
    own = FileInput.of(Path(lifecycle.PROJECT) / "sweep" / "worker" / "run.py")
    foreign = tmp_path / "rows.jsonl"
    foreign.write_text("{}", encoding="utf-8")
    stage = Stage("s", 1, toy_queue.Make(1), "a:b", {"file": (own, FileInput.of(foreign))}, code=CodePolicy.EXPENSIVE)
    store = Store(tmp_path / "store")
    directory = written(store, stage)
    places = store.directory(stage).read_stage()["inputs"]["file"]
    files = [(place["file"], place["key"]) for place in places if "file" in place]
    paths = [str(directory.code / "sweep" / "worker" / "run.py"), str(foreign)]
    assert files == list(zip(paths, [each.key for each in stage.inputs["file"]], strict=True))


def test_what_is_queued_or_not_yet_published_is_not_pruned(tmp_path: Path) -> None:
    store, product = Store(tmp_path / "store"), fan()
    directory = written(store, product)
    assert not prune(store, tmp_path / "results", yes=True, unfinished=True).gone
    directory.write_marker(directory.closed_file, why="cancelled")
    gone = prune(store, tmp_path / "results", yes=True, unfinished=True).gone
    assert {each.place.partition("/")[0] for each in gone} == {"start", "points", "total"}


def test_two_that_publish_the_same_result_at_once_leave_it_whole(tmp_path: Path) -> None:
    """As the last jobs of the same command, submitted twice: they wait for the same report."""
    store, product = Store(tmp_path / "store"), make_stage("total", 1)
    directory = store.prepare(product)
    attempt = begin(directory)
    for number in range(60):
        (attempt.out / f"{number}.txt").write_text("whole", encoding="utf-8")
    attempt.publish(record_with(seconds=1.0, usd=0.0, summary={}, finished_at="", provenance=PROVENANCE))
    graph, results = toy_queue.graph(product, LAUNCH), tmp_path / "results"
    with ThreadPoolExecutor(8) as pool:
        for published in [pool.submit(publish, graph, store, results) for _ in range(8)]:
            published.result()
    folder = results / graph.name
    assert {path.name for path in folder.iterdir()} == {product.key, "latest"}
    assert len(list((folder / "latest").glob("*.txt"))) == 60


def test_what_is_written_holds_no_secret_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "whisper-" * 3  # not written out: this file may be in the diff
    monkeypatch.setenv("WANDB_API_KEY", secret)
    monkeypatch.setenv("HF_TOKEN", secret)
    directory = written(Store(tmp_path / "store"), fan())
    files = [path for path in directory.path.rglob("*") if path.is_file()]
    assert not [path for path in files if secret in path.read_text(encoding="utf-8", errors="replace")]
    assert json.loads(directory.submission_file.read_text(encoding="utf-8"))["command"] == "python -m sweep toy"


def test_a_submission_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """Its settings were the same for all kinds of jobs, and null memory meant all of a node."""
    directory = written(Store(tmp_path / "store"), fan())
    content = {name: value for name, value in read_json(directory.submission_file).items() if name != CHECKSUM}
    content["launch"] = {
        "kind": "slurm",
        "partition": "main",
        "gpu_type": None,
        "sbatch": ["--nice=10"],
        "without": [],
        "minutes": {"cpu": 30, "sft": 90},
        "cpus": 4,
        "memory_gib": 16,
        "cpus_per_gpu": 8,
        "memory_gib_per_gpu": None,
        "throttle": 2,
        "signal_seconds": 60,
    }
    for file in (directory.submission_file, directory.copy_file):
        write_json(file, sealed(content))
    launch = SubmissionDirectory(directory.path).read().launch
    assert launch.throttle == 2 and launch.signal_seconds == 60
    sft, cpu, other = (launch.settings_of(each) for each in ("sft", "cpu", "generate"))
    assert [each.minutes for each in (sft, cpu, other)] == [90, 30, None]
    assert {each.partition for each in (sft, cpu, other)} == {"main"} and sft.memory_gib_per_gpu == ALL_MEMORY
    assert sft.sbatch == ("--nice=10",) and cpu.cpus == 4


class LimitedQueue(Queue):
    """Refuses what exceeds its room, as sbatch does for a limit of submitted jobs."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def submit(self, script: Path, arguments: Sequence[str], dependency: str | None) -> str:
        found = re.search(r"--array=0-(\d+)", script.read_text(encoding="utf-8"))
        elements = int(found[1]) + 1 if found else 1
        if elements > self.room:
            raise QueueFull("sbatch: error: AssocMaxSubmitJobLimit.")
        self.room -= elements
        return super().submit(script, arguments, dependency)


def test_what_an_unknown_limit_refuses_waits_for_the_next_wave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "find_job", lambda name: None)
    directory = written(Store(tmp_path / "store"), fan(30))
    sent = lifecycle.send_in_waves(directory, submit=(queue := LimitedQueue(10)).submit)
    assert [name for name, _ in queue.sent] == ["01-start", "w1-feed"]
    assert sent.left == read_waves(directory).left == 32 and queue.sent[1][1] == "afterany:101"


def test_without_squeue_it_is_unknown_whether_the_rest_will_be_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "find_job", lambda name: None)
    directory = written(Store(tmp_path / "store"), fan(30))
    lifecycle.send_in_waves(directory, submit=LimitedQueue(10).submit)
    monkeypatch.setattr(client, "queued_jobs", lambda ids: None)
    everything = lifecycle.store_info(directory, directory.read())
    start = frozenset(directory.read().jobs[0].elements[0].stages)
    for done in (frozenset[str](), start):  # whether or not what was sent is done
        now = dataclasses.replace(everything, done=done)
        monkeypatch.setattr(lifecycle, "store_info", lambda *_, now=now: now)
        current = lifecycle.status_with_waves(directory)
        assert verdict([each.state for each in current.elements]) is Verdict.UNKNOWN


def test_refused_resumes_do_not_make_the_submission_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "find_job", lambda name: None)
    store = Store(tmp_path / "store")
    directory = written(store, fan())
    before = directory.read(), sorted(path.name for path in (directory.path / "jobs").iterdir())
    for _ in range(3):
        with pytest.raises(InputError, match="nothing was submitted, as your other jobs fill the queue"):
            lifecycle.resume_submission(directory, store, LimitedQueue(0).submit)
    assert directory.read() == before[0]
    files = {path.name for path in (directory.path / "jobs").iterdir()}
    assert files - set(before[1]) == {"01-start.unsent"}
