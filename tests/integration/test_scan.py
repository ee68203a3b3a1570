"""The whole scan at a tiny size, as a user runs it: real training, real generation, real lm-eval, real files."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from s1.records import Ending, Question, read_rows
from s1.report.tables import read_table
from s1.report.trace_archive import Origin, open_archive
from s1.trace_size import stored_bytes
from sweep.core.provenance import PROJECT
from tests.support.smoke import User, environment

pytestmark = pytest.mark.slow


@pytest.fixture
def scanned(smoke_scan: Path) -> User:
    """A user whose smoke scan is finished; tests that write more take a copy."""
    return User(smoke_scan)


@pytest.fixture
def user(scanned: User, tmp_path: Path) -> User:
    shutil.copytree(scanned.store, tmp_path / "store", symlinks=True)
    return User(tmp_path)


def test_a_scan_leaves_a_report_a_table_figures_and_a_manifest(scanned: User) -> None:
    made = scanned.results / "smoke" / "latest"
    assert {path.name for path in made.iterdir()} == {
        "README.md",
        "table.csv",
        "figures",
        "report.html",
        "manifest.json",
        "settling.csv",
        "grader_disagreement.csv",
        "costs.csv",
        "costs.js",
        "traces",
    }
    rows = read_table(made / "table.csv")
    assert [row["label"] for row in rows] == ["max 4", "max 16", "Wait x1"]
    assert [row["valid"] for row in rows] == ["yes"] * 3
    assert [row["n"] for row in rows] == [12] * 3
    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    assert {address.split("/")[0] for address in manifest["stages"]} >= {"checkpoint", "traces", "scores", "report"}
    sampled, cached = manifest["remarks"]
    assert re.fullmatch(r"generation: [\d,]+ tokens sampled, where each point from scratch would take [\d,]+", sampled)
    assert re.fullmatch(r"prompts: [\d,]+ tokens, [\d,]+ of them \(\d+%\) found in the engine's cache", cached)


def test_every_trace_of_the_result_is_read_without_the_store(scanned: User) -> None:
    archive = open_archive(scanned.results / "smoke" / "latest" / "traces")
    assert [point.label for point in archive.points] == ["max 4", "max 16", "Wait x1"]
    for point in archive.points:
        answers = scanned.answers(point.label)
        assert [archive.questions[place.row].question_id for place in archive.places(point.id)] == [
            answer.question_id for answer in answers
        ]
        for (_, _, trace), answer in zip(archive.traces(point_ids=[point.id]), answers, strict=True):
            written = [piece.text for piece in trace.thinking if piece.origin in (Origin.SAMPLED, Origin.APPENDED)]
            assert "".join(written) == answer.thinking
            assert sum(piece.origin is Origin.APPENDED for piece in trace.thinking) == answer.waits
            assert (trace.thinking[-1].origin is Origin.CUT) is (answer.ending is Ending.FORCED)
            assert trace.prompt is not None and trace.question in trace.prompt


def test_traces_take_about_the_disk_that_a_plan_says(scanned: User) -> None:
    """Points share their thinking, but each of their files holds it."""
    traces = [each for label in ("max 4", "max 16", "Wait x1") for each in scanned.answers(label)]
    whole = sum(each.sampled_tokens for each in traces)
    kept = list(scanned.store.glob("shared/*/continuations/*/*.jsonl"))
    new = sum(len(json.loads(line.partition(" ")[2])["ids"]) for path in kept for line in path.read_text().splitlines())
    files = [*kept, *scanned.store.glob("traces/*/out/traces.jsonl"), *scanned.store.glob("scores/*/out/scores.jsonl")]
    expected = stored_bytes(len(traces), whole, new)
    assert 0 < new < whole
    assert sum(path.stat().st_size for path in files) == pytest.approx(expected, rel=0.3)


def test_no_trace_is_over_its_budget_and_waits_are_inserted(scanned: User) -> None:
    assert max(answer.thinking_tokens for answer in scanned.answers("max 4")) <= 4
    assert max(answer.thinking_tokens for answer in scanned.answers("max 16")) <= 16
    for answer in scanned.answers("Wait x1"):
        forced = [
            segment for segment in answer.segments if segment["part"] == "thinking" and segment["origin"] == "forced"
        ]
        assert len(forced) == answer.waits


def test_the_same_command_again_makes_nothing(user: User) -> None:
    before = {name: user.done(name) for name in ("checkpoint", "traces", "scores", "report")}
    again = user.run()
    assert again.returncode == 0
    assert "0 stages to run" in again.stdout
    assert {name: user.done(name) for name in before} == before


def test_two_commands_of_one_experiment_leave_two_results_and_a_copy_is_made_on_request(
    user: User, tmp_path: Path
) -> None:
    for overrides in ((), ("claim=Another.",)):
        done = user.run(*overrides)
        assert done.returncode == 0, done.stdout + done.stderr
    results = {path.name for path in (user.results / "smoke").iterdir()}
    assert results == {"latest", *user.done("report")} and len(results) == 3
    latest = user.results / "smoke" / "latest"
    assert "Another." in (latest / "README.md").read_text(encoding="utf-8")
    command = user.command("--to", f"{tmp_path}/for a paper")
    publish = subprocess.run([*command[:3], "publish", *command[3:]], cwd=PROJECT, env=environment(), check=False)
    assert publish.returncode == 0
    assert "Another." not in (tmp_path / "for a paper" / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "for a paper" / "figures" / "scaling.png").exists()
    pruned = subprocess.run(
        [*command[:3], "store", "prune", f"store={user.store}", f"results={tmp_path}/elsewhere"],
        cwd=PROJECT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "report/" not in pruned.stdout and "scores/" not in pruned.stdout


def test_another_budget_makes_its_own_answers_and_nothing_else_and_a_smaller_one_costs_only_those(user: User) -> None:
    """Its thinking is a prefix of what the larger one wrote."""
    trained = user.done("checkpoint")
    assert user.run("budget.max_thinking_tokens=4,10").returncode == 0
    assert user.done("checkpoint") == trained
    assert len(user.done("traces")) == 4
    (record,) = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (user.store / "traces").glob("*/record.json")
        if json.loads(path.read_text(encoding="utf-8"))["identity"]["config"]["budget"]["max_thinking_tokens"] == 10
    ]
    thinking = sum(answer.thinking_tokens for answer in user.answers("max 10"))
    assert record["summary"]["served_tokens"] >= thinking


def test_answers_from_a_shared_store_equal_answers_from_scratch(user: User, tmp_path: Path) -> None:
    """The control of sharing: greedy decoding in float32, every point generated alone."""
    shared = {label: user.answers(label) for label in ("max 4", "max 16", "Wait x1")}
    for path in (user.store / "traces").iterdir():
        shutil.rmtree(path)
    assert user.run("generate.share=false").returncode == 0
    for label, answers in shared.items():
        assert [answer.segments for answer in user.answers(label)] == [answer.segments for answer in answers]


def test_two_copies_of_the_model_answer_as_one_does(user: User) -> None:
    alone = {label: user.answers(label) for label in ("max 4", "Wait x1")}
    for name in ("traces", "scores", "curve", "trace_archive", "report", "shared"):
        shutil.rmtree(user.store / name)
    assert user.run("machine.data_parallel=2").returncode == 0
    for label, answers in alone.items():
        assert user.answers(label) == answers
    wait_until(lambda: not workers_of(user))


def test_an_interrupted_and_a_killed_scan_go_on_from_the_last_training_checkpoint(tmp_path: Path) -> None:
    user = User(tmp_path)
    overrides = ("train.steps=150", "machine.checkpoint_every_steps=10", "budget.max_thinking_tokens=4", "also=[]")
    began_at = 0
    for how in (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen(user.command(*overrides), cwd=PROJECT, env=environment(), stdout=subprocess.DEVNULL)
        wait_until(lambda: newest_checkpoint(user) > began_at)  # noqa: B023
        process.send_signal(how)
        assert process.wait(timeout=30) == (130 if how is signal.SIGINT else -how)
        wait_until(lambda: not workers_of(user))
        assert user.done("curated") and not user.done("checkpoint")
        began_at = newest_checkpoint(user)
    assert user.run(*overrides).returncode == 0
    (record,) = user.store.glob("checkpoint/*/record.json")
    assert json.loads(record.read_text(encoding="utf-8"))["summary"]["resumed_at_step"] == began_at >= 20


def newest_checkpoint(user: User) -> int:
    """The last step of which a checkpoint is complete; 0: of none."""
    complete = user.store.glob("checkpoint/*/scratch/checkpoint-*/complete")
    return max((int(path.parent.name.partition("-")[2]) for path in complete), default=0)


def test_a_missing_data_file_is_one_line_and_exit_status_1(user: User) -> None:
    refused = user.run("task=math500", "task.data_file=/no/such.jsonl")
    assert refused.returncode == 1
    assert "task.data_file '/no/such.jsonl': no such file" in refused.stderr


def test_an_unreadable_row_is_refused_by_line_while_planning_and_the_rest_is_kept(user: User, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "1", "problem": "1+1?", "answer": "2"}\n{"id": "2", "prob', encoding="utf-8")
    refused = user.run("task=math500", f"task.data_file={rows}")
    assert refused.returncode == 1
    assert "line 2: not JSON" in refused.stderr
    assert user.done("checkpoint")


def test_a_task_of_ones_own_is_asked_and_judged_from_wherever_the_command_is_typed(user: User, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    yaml = "doc_to_text: 'Dial @{{start}}. Ann +{{turn}}. Dial now?'\ndoc_to_target: '{{end}}'\nfilter_list:\n"
    yaml += "  - name: number\n    filter: [{function: regex, regex_pattern: '([0-9]+)'}, {function: take_first}]\n"
    (tmp_path / "tasks" / "turns.yaml").write_text(yaml, encoding="utf-8")
    rows = [{"start": start, "turn": 3, "end": start + 3} for start in range(8)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    known = user.done("checkpoint"), user.done("questions")
    done = user.run("task=own", "task.name=turns", "task.data_file=rows.jsonl", place=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert user.done("checkpoint") == known[0]
    (made,) = user.done("questions") - known[1]
    asked = read_rows(user.store / "questions" / made / "out" / "questions.jsonl", Question)
    assert [(each.prompt, each.gold) for each in asked][:2] == [
        ("Dial @0. Ann +3. Dial now?", "3"),
        ("Dial @1. Ann +3. Dial now?", "4"),
    ]
    results = user.results / "smoke" / "latest"
    assert [row["n"] for row in read_table(results / "table.csv")] == [8] * 3
    refused = user.run("task=own", "task.name=turn", "task.data_file=rows.jsonl", place=tmp_path)
    assert refused.returncode == 1
    assert "task.name 'turn': no such task. Known: turns, " in refused.stderr


def test_results_that_cannot_be_written_lose_nothing(user: User, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a folder should be", encoding="utf-8")
    refused = user.run()
    assert refused.returncode == 1
    assert "error" in refused.stderr and len(refused.stderr.splitlines()) == 1
    (tmp_path / "results").unlink()
    assert user.run().returncode == 0


def test_a_continuation_store_cut_in_half_is_repaired_and_said(user: User) -> None:
    (file,) = user.store.glob("shared/*/continuations/*/*.jsonl")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    for path in (user.store / "traces").iterdir():
        shutil.rmtree(path)
    for path in (user.store / "scores").iterdir():
        shutil.rmtree(path)
    for name in ("curve", "trace_archive", "report"):
        shutil.rmtree(user.store / name)
    done = user.run()
    assert done.returncode == 0, done.stdout
    logs = "".join(path.read_text(encoding="utf-8") for path in user.store.glob("traces/*/log.txt"))
    assert "damaged" in logs


def workers_of(user: User) -> list[str]:
    """Command lines of live worker processes at this store."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "sweep.worker.run" in command and str(user.store) in command:
            found.append(command)
    return found


def wait_until(claim: object, most_s: float = 300.0) -> None:
    end = time.monotonic() + most_s
    while not claim():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
