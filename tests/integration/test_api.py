"""`import s1`, on a real sweep of the smallest size."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path

import pandas
import pytest

import s1
from s1.generate.trace import Part, TokenOrigin
from s1.records import ScoreRow, TraceRow, read_rows

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "python-api.md"


@pytest.fixture(scope="module")
def home(smoke_scan: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with a finished `smoke`; its stages were made before, `run` reuses and publishes them."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(smoke_scan / "store", folder / "store", symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        s1.run("smoke", "track=off", quiet=True)
        yield folder


@pytest.fixture
def result(home: Path) -> s1.Result:
    return s1.load(home / "results" / "smoke" / "latest", store=home / "store")


def changed(path: Path) -> bytes:
    """Flip one digit of a file; what it held before."""
    before = path.read_bytes()
    place = max(index for index, byte in enumerate(before) if chr(byte).isdigit())
    path.write_bytes(before[:place] + (b"1" if before[place : place + 1] != b"1" else b"2") + before[place + 1 :])
    return before


def test_importing_s1_loads_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import s1; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ast.literal_eval(done.stdout)}
    assert loaded - sys.stdlib_module_names == {"s1"}
    assert [name for name in ast.literal_eval(done.stdout) if name.startswith("s1")] == ["s1"]


def test_every_name_that_it_promises_is_there() -> None:
    assert [name for name in s1.__all__ if not hasattr(s1, name)] == []
    assert set(s1.__all__) <= set(dir(s1))
    with pytest.raises(AttributeError, match="nothing"):
        _ = s1.nothing  # type: ignore[attr-defined]


def test_points_are_typed_and_agree_with_the_file(result: s1.Result) -> None:
    points = result.points
    assert set(points.label) == {"max 4", "max 16", "Wait x1"}
    assert points.accuracy.dtype == "Float64" and points.n.dtype == "Int64" and points.valid.dtype == "boolean"
    assert points["budget.waits"].dtype == "Int64" and points["budget.max_thinking_tokens"].dtype == "Int64"
    written = pandas.read_csv(result.path / "table.csv", dtype=str)
    assert list(points.accuracy) == [float(each) for each in written.accuracy]
    assert list(points.key) == list(written.key)
    assert list(points["budget.max_thinking_tokens"].isna()).count(True) == 1  # the point with Waits has no maximum


def test_questions_are_the_scores_of_every_point(result: s1.Result) -> None:
    questions, points = result.questions, result.points.set_index("label")
    assert len(questions) == 12 * len(points) and questions.correct.dtype == "boolean"
    for label, of_point in questions.groupby("point"):
        assert of_point.correct.mean() == pytest.approx(points.accuracy[label], abs=1e-6)
        assert of_point.thinking_tokens.mean() == pytest.approx(points.thinking_tokens[label], abs=0.05)
    assert set(questions.ending) <= {"natural", "forced", "none"}
    assert questions["budget.max_thinking_tokens"].dtype == "Int64"
    assert questions.answer_tokens.dtype == "Int64" and questions.gold.notna().all()


def test_traces_are_the_answers_with_their_judgement(result: s1.Result, home: Path) -> None:
    (point,) = [each for each in result.evaluated if each.label == "max 4"]
    traces = list(result.traces("max 4"))
    rows = read_rows(next((home / "store" / point.traces).glob("out*")) / "traces.jsonl", TraceRow)
    scores = read_rows(next((home / "store" / point.scores).glob("out*")) / "scores.jsonl", ScoreRow)
    assert [(each.question_id, each.thinking, each.answer) for each in traces] == [
        (row.question_id, row.thinking, row.answer) for row in rows
    ]
    assert {(each.question_id, each.correct) for each in traces} == {
        (each.question_id, each.correct) for each in scores
    }
    for trace in traces:
        thinking = [segment for segment in trace.segments if segment.part is Part.THINKING]
        assert sum(len(segment.ids) for segment in thinking) == trace.thinking_tokens <= 4
        assert trace.prompt and all(isinstance(segment.origin, TokenOrigin) for segment in trace.segments)
    assert traces == list(result.traces(point)) == list(result.traces(point.key))
    with pytest.raises(FrozenInstanceError):
        traces[0].answer = ""  # type: ignore[misc]


def test_running_again_runs_nothing_and_gives_the_same_result(home: Path, result: s1.Result) -> None:
    plan = s1.plan("smoke", "track=off")
    assert (plan.points, plan.needed, plan.obstacles) == (3, (), ())
    again = s1.run("smoke", "track=off", quiet=True)
    assert (again.path, again.name) == (result.path, result.name)


def test_a_plan_of_another_budget_names_what_would_run(home: Path) -> None:
    plan = s1.plan("smoke", "track=off", "budget.max_thinking_tokens=8")
    names = [each.address.partition("/")[0] for each in plan.needed]
    assert "traces" in names and "checkpoint" not in names and names[-1] == "report"
    assert all((each.device_seconds or 0) >= 0 for each in plan.needed)


def test_a_changed_file_is_refused_when_it_is_read(home: Path) -> None:
    path = home / "results" / "smoke" / "latest" / "table.csv"
    before = changed(path)
    try:
        damaged = s1.load(path.parent, store=home / "store")
        with pytest.raises(s1.StoreError, match=r"table\.csv: changed since it was published"):
            _ = damaged.points
        assert len(damaged.questions)  # which does not read it
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("stage", ["scores", "traces", "questions", "curve"])
def test_a_changed_product_is_refused_when_it_is_read(stage: str, home: Path, result: s1.Result) -> None:
    key = {"scores": result.evaluated[0].scores, "traces": result.evaluated[0].traces}.get(stage, stage)
    path = next(
        each for each in (home / "store" / key).rglob("*") if each.suffix in (".jsonl", ".json") and in_out(each)
    )
    before = changed(path)
    try:
        fresh = s1.load(result.path, store=result.store)
        with pytest.raises(s1.StoreError, match=f"{stage}/.*damaged"):
            list(fresh.traces(fresh.evaluated[0]))
    finally:
        path.write_bytes(before)


def in_out(path: Path) -> bool:
    return any(parent.name.startswith("out") for parent in path.parents)


def test_a_manifest_that_disagrees_with_itself_is_refused(home: Path) -> None:
    path = home / "results" / "smoke" / "latest" / "manifest.json"
    before = path.read_bytes()
    text = before.decode()
    digest = re.findall(r'"table.csv": "([0-9a-f]{64})"', text)[0]
    path.write_text(text.replace(digest, "0" * 64), encoding="utf-8")
    try:
        with pytest.raises(s1.StoreError, match=r"manifest\.json: damaged"):
            s1.load(path.parent, store=home / "store")
    finally:
        path.write_bytes(before)


def test_a_store_that_is_elsewhere_has_to_be_named(result: s1.Result, tmp_path: Path) -> None:
    elsewhere = s1.load(result.path, store=tmp_path)
    assert len(elsewhere.points) == 3
    with pytest.raises(s1.StoreError, match="Name the store"):
        _ = elsewhere.questions


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: s1.run("smokee"), "smokee"),
        (lambda: s1.run("-m"), "nothing|experiment"),
        (lambda: s1.run("smoke", "plan"), "sets no field"),
        (lambda: s1.run("smoke", "--help=1"), "sets no field"),
        (lambda: s1.run("smoke", "budget.wait=2"), "budget.wait"),
        (lambda: s1.run("smoke", "launch=slurm", "track=off"), "launch slurm"),
        (lambda: s1.load("nowhere"), "not a result"),
    ],
)
def test_what_cannot_be_done_is_refused_with_our_exception(call: Callable[[], object], says: str, home: Path) -> None:
    with pytest.raises(s1.InputError, match=says):
        call()


def test_an_unknown_point_or_file_is_named_with_what_there_is(result: s1.Result) -> None:
    with pytest.raises(s1.InputError, match=r"point 'max 5'.*There are: max 4"):
        result.traces("max 5")
    for name in ("nothing.csv", "funnel.csv", "manifest.json", "README.md"):
        with pytest.raises(s1.InputError, match=rf"{name}: no such CSV file in smoke.*Known: .*table\.csv\.$"):
            result.table(name)


def test_every_csv_file_of_a_result_can_be_read(result: s1.Result) -> None:
    names = sorted(path.name for path in result.path.glob("*.csv"))
    assert "grader_disagreement.csv" in names
    assert [list(result.table(name)) for name in names] == [
        (result.path / name).read_text(encoding="utf-8").splitlines()[0].split(",") for name in names
    ]


def test_the_examples_of_the_page_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), {})
    assert "smoke/" in capsys.readouterr().out
