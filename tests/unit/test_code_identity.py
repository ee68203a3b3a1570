"""Code in the keys of the real pipeline's stages, and the stages that an edit makes again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s1 import pipeline
from s1.config.schema import ConfigError
from s1.evaluate.task_files import TASKS
from s1.evaluate.task_identity import code_roots, require_planned, scoring, wording
from s1.evaluation_stages import GRADING
from sweep.config.compose import CONFIG, compose
from sweep.core.provenance import PROJECT, provenance
from sweep.core.stage import CodePolicy, Finished, Stage, installed_version
from sweep.plan.graph import plan
from sweep.source.digest import source_of
from sweep.store.attempt import RunOrigin, begin, record_of
from sweep.store.directory import Store, describe
from sweep.worker.run import code_of
from tests.support.known import known

pytestmark = pytest.mark.slow

POLICIES = {
    CodePolicy.FINAL: {"scores", "curve", "trace_archive", "report", "funnel", "training"},
    CodePolicy.UPSTREAM: {
        *(
            "pool",
            "filtered",
            "solver_rows",
            "problems",
            "questions",
            "curated",
            "conditioned",
            "rendered",
            "base_model",
            "scores",
        ),
    },
    CodePolicy.EXPENSIVE: {"traces", "traces_shard", "checkpoint", "distilled", "labelled"},
}
COMMANDS = (
    *([f"+experiment={path.stem}"] for path in sorted((CONFIG / "experiment").glob("*.yaml"))),
    ["+experiment=curate", "goal=checkpoint", "data=dial_1k"],
    ["+experiment=smoke", "machine.shards=2"],
)


def stages_of(*words: str) -> list[Stage]:
    composition = compose([*words, "-m"])
    graph = pipeline.graph(composition.points, composition.request)
    return list(plan([graph.artifact], lambda stage: False).needed)


@pytest.fixture(scope="module")
def smoke() -> list[Stage]:
    return stages_of("+experiment=smoke")


def roots_of(stages: list[Stage], name: str) -> tuple[str, ...]:
    return next(stage.roots for stage in stages if stage.name == name)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_stage_is_classified_by_its_place(words: list[str]) -> None:
    stages = stages_of(*words)
    for stage in stages:
        assert stage.name in POLICIES[stage.code], f"{stage.name} is {stage.code}"
        assert ("code" in stage.identity()) == (stage.code is CodePolicy.FINAL)
        assert source_of(stage.roots), "its source is found"
    for stage in stages:  # nothing whose key follows its code has anything but results on it
        finals = [each.name for each in stage.dependencies() if each.code is CodePolicy.FINAL]
        assert not finals or stage.code is CodePolicy.FINAL, f"{stage.name} rests on {finals}"


def test_scores_that_feed_a_training_set_are_upstream() -> None:
    stages = stages_of("+experiment=curate")
    scores = [stage for stage in stages if stage.name == "scores"]
    assert scores and all(stage.code is CodePolicy.UPSTREAM for stage in scores)


def test_the_key_of_scores_holds_graders_and_the_versions_of_what_they_use(smoke: list[Stage]) -> None:
    code = known(next(stage for stage in smoke if stage.name == "scores").identity().get("code"))
    assert {"s1/evaluate/score.py", "s1/evaluate/graders.py", "s1/evaluate/replay.py"} <= set(code["files"])
    others = [name for name in code["files"] if re.match("s1/(generate|train|report|data|stats)/|s1/track", name)]
    assert not others
    assert code["packages"] == {name: installed_version(name) for name in GRADING}
    assert all(code["packages"].values())


def test_templates_are_in_the_key_of_the_report(smoke: list[Stage]) -> None:
    files = source_of(roots_of(smoke, "report"))
    assert {"s1/report/page.html.jinja", "s1/report/readme.md.jinja", "s1/report/tables.py"} <= set(files)


# ---------------------------------------------------------------------------------------- an edit, and the plan after


class Checkout:
    """A copy of the project beside a store in which the smoke scan is finished."""

    def __init__(self, home: Path, store: Path) -> None:
        self.code, self.store = home / "code", store
        for name in ("sweep", "s1", "conf"):
            shutil.copytree(PROJECT / name, self.code / name, ignore=shutil.ignore_patterns("__pycache__"))

    def plan(self) -> tuple[dict[str, int], str]:
        """How many stages of each kind would run, and what was printed."""
        words = ["+experiment=smoke", "plan=true", f"store={self.store}", "-m"]
        environment = {**os.environ, "PYTHONPATH": str(self.code), "COLUMNS": "250", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "sweep", *words],
            cwd=self.code,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        rows = re.findall(r"^(\w+) +(\d+)  ", done.stdout, re.MULTILINE)
        return {name: int(count) for name, count in rows if name != "estimated" and count != "0"}, done.stdout

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        path = self.code / name
        text = path.read_text(encoding="utf-8")
        assert change(text) != text
        path.write_text(change(text), encoding="utf-8")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, smoke: list[Stage]) -> Path:
    """Every stage is done, by its record; products are empty, and took so long that none is made again to compare."""
    root = tmp_path_factory.mktemp("store")
    for stage in smoke:
        directory = Store(root).prepare(stage)
        attempt = begin(directory)
        described = describe(stage)
        origin = RunOrigin(code_of(described), {}, 0, provenance())
        attempt.publish(record_of(described, Finished(stage.key, {}), 60.0, [], origin))
    return root


@pytest.fixture
def checkout(store: Path, tmp_path: Path) -> Checkout:
    return Checkout(tmp_path, store)


def added(where: str, line: str) -> Callable[[str], str]:
    """A line in front of another."""
    return lambda text: text.replace(where, f"{line}{where}", 1)


RESCORED = {"scores": 3, "curve": 1, "trace_archive": 1, "report": 1}


def test_an_edited_grader_scores_again_and_nothing_else(checkout: Checkout) -> None:
    grader = "s1/evaluate/graders.py"
    checkout.edit(grader, added("def integer_results", "# Of integers.\n"))
    assert checkout.plan()[0] == {}
    checkout.edit(
        grader, lambda text: re.sub(r"(def grade_integer\(.*?\n    )(?=\w)", r"\1text = text\n    ", text, flags=re.S)
    )
    made, said = checkout.plan()
    assert made == RESCORED
    assert "code changed (s1/evaluate/graders.py), 3 stages are made again" in said


def test_graders_are_no_part_of_the_code_of_questions(smoke: list[Stage]) -> None:
    """They only refuse what could not be graded: an edit must not ask lm-eval whether the words are the same."""
    files = set(source_of(roots_of(smoke, "questions")))
    assert {"s1/evaluate/questions.py", "s1/evaluate/replay.py"} <= files
    assert not [name for name in files if name.startswith("s1/evaluate/grading/")]


def test_an_edited_policy_makes_nothing_again_and_is_named(checkout: Checkout) -> None:
    checkout.edit("s1/generate/rollout.py", added("class Rollout", "CHANGED = True\n\n\n"))
    assert checkout.plan()[0] == {}
    checkout.edit(
        "s1/generate/rollout.py", lambda text: text.replace("    def run(self", "    x = 1\n\n    def run(self", 1)
    )
    made, said = checkout.plan()
    assert made == {}
    assert "and 2 more: made by other code (s1/generate/rollout.py); reused. redo=traces makes them again." in said


def test_an_edited_template_makes_the_report_again(checkout: Checkout) -> None:
    checkout.edit("s1/report/page.html.jinja", lambda text: f"{text}\n<!-- changed -->")
    assert checkout.plan()[0] == {"report": 1}


def test_how_a_task_is_scored_is_no_part_of_its_questions(checkout: Checkout) -> None:
    task = "s1/evaluate/tasks/dial.yaml"
    checkout.edit(task, lambda text: text.replace("integer_results", "math_results"))
    assert checkout.plan()[0] == RESCORED
    checkout.edit(task, lambda text: f"# A comment.\n{text}\ngeneration_kwargs: {{max_gen_toks: 7}}\n")
    assert checkout.plan()[0] == RESCORED
    checkout.edit(
        "s1/evaluate/tasks/_shared.yaml", lambda text: text.replace("aggregation: mean", "aggregation: nanmean")
    )
    assert checkout.plan()[0] == RESCORED


def test_how_a_task_words_its_questions_asks_them_again(checkout: Checkout) -> None:
    shared = "s1/evaluate/tasks/_shared.yaml"
    checkout.edit(shared, lambda text: text.replace("doc_to_text: problem", 'doc_to_text: "Solve: {{problem}}"'))
    assert checkout.plan()[0] == {"questions": 1, "traces": 3, **RESCORED}


# --------------------------------------------------------------------------------------------------- a task's file


def test_includes_are_resolved_and_functions_are_named() -> None:
    assert wording("aime24")["doc_to_text"] == "problem"
    assert "process_results" not in wording("aime24") and "filter_list" not in wording("aime24")
    assert scoring("aime24")["process_results"] == {"!function": "s1.evaluate.graders.integer_results"}
    assert "s1.evaluate.graders:integer_results" in code_roots(scoring("aime24"))
    assert code_roots(wording("aime24")) == ("s1.evaluate.rows:dataset",)
    for path in TASKS.glob("[!_]*.yaml"):
        assert not set(wording(path.stem)) & set(scoring(path.stem))


OWN = """
task: mine
dataset_path: json
dataset_kwargs: {data_files: mine.jsonl}
doc_to_text: "Solve: {{problem}}"
doc_to_target: answer
process_results: !function mine.judge
process_docs: !function mine.prepare
metadata: {version: 1}
"""
CODE = "def judge(doc, results):\n    return {'acc': 1}\n\n\ndef prepare(docs):\n    return docs\n"


def test_a_user_s_own_task_is_known_by_what_it_says_and_computes(tmp_path: Path) -> None:
    path = tmp_path / "tasks" / "mine.yaml"

    def found(yaml: str = OWN, code: str = CODE, rows: str = "{}") -> tuple[Any, Any]:
        """Read from a fresh folder: code that was read once is not read again in a process."""
        place = tmp_path / str(len(list(tmp_path.iterdir()))) / path.name
        place.parent.mkdir()
        place.write_text(yaml, encoding="utf-8")
        (place.parent / "mine.py").write_text(code, encoding="utf-8")
        (place.parent / "mine.jsonl").write_text(rows, encoding="utf-8")
        return wording("mine", place), scoring("mine", place)

    words, scores = found()
    assert found(code=f"# A comment.\n{CODE}") == (words, scores)
    assert found(OWN.replace("version: 1", "version: 2"))[0] == words
    again = found(code=CODE.replace("'acc': 1", "'acc': 0"))
    assert again[0] == words and again[1] != scores
    again = found(code=CODE.replace("return docs", "return docs[:1]"))
    assert again[0] != words and again[1] == scores
    assert found(rows="{} ")[0] != words
    assert found(f"{OWN}num_fewshot: 2\n")[0] != words
    assert found(f"{OWN}description: Think.\n")[0] != words
    with pytest.raises(ConfigError, match=r"!function mine\.gone: not in"):
        found(OWN.replace("mine.judge", "mine.gone"))
    with pytest.raises(ConfigError, match="task mine doc_to_text: changed after the sweep was planned"):
        require_planned("mine", words, {**words, "doc_to_text": "x"})
