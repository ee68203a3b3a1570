"""The only module that uses lm-eval: build tasks from YAML files, grade texts with a model that replays them, and read
the judgement of each text from its results.

A task is built twice. Over its rows, it renders the prompts. Over the documents stored with the questions, it grades
the answers. Prompts are not rendered a second time, so any template works, and each text is graded with its own
document. lm-eval sees one document per answer: S samples of a question are S documents.

The first filter and the first metric of the task judge each answer separately. If the task's `process_results` returns
`extracted` and `notes` for each answer, as our graders do, these are used; otherwise the extracted answer is the output
of the filter.
"""

from __future__ import annotations

import io
import json
import logging
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from datasets.exceptions import DatasetsError
from jinja2 import TemplateError
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml  # TaskManager cannot load a YAML file over other rows
from pyarrow import ArrowException

from s1.config.data import GraderKind
from s1.config.schema import ConfigError, Hub
from s1.evaluate.graders import integer_results, letter_results, math_results, share
from s1.evaluate.task_files import TaskFile, read_task, task_file
from s1.hub.datasets import rows_at
from s1.records import read_objects
from sweep.errors import SweepError

SEEDS = (0, 1234, 1234)  # lm-eval's defaults for random, numpy and the few-shot examples
YAML_PATH = "config_source"  # lm-eval's key for the path of the YAML file in a task's metadata
PER_SAMPLE = ("correct", "extracted", "notes")  # lists that our graders return
GRADER = "grader"  # key in a task's metadata: its GraderKind, or None
OURS = {integer_results: GraderKind.INTEGER, math_results: GraderKind.MATH, letter_results: GraderKind.LETTER}
UNREAD = "[invalid]"  # output of lm-eval's regex filter if nothing matches
NO_ROWS = {"custom_dataset": None, "dataset_path": None, "dataset_name": None, "dataset_kwargs": None}
NO_PROMPT = {  # fields that render prompts, disabled
    **dict.fromkeys(("training_split", "validation_split", "fewshot_split", "fewshot_config", "process_docs")),
    **{"test_split": "test", "num_fewshot": 0, "description": "", "doc_to_text": lambda _doc: ""},
}
TASK_ERRORS = (  # raised for a YAML that lm-eval cannot use, or by functions that do not fit their rows
    *(ArithmeticError, AssertionError, AttributeError, DatasetsError, ImportError, LookupError, NameError),
    *(OSError, TemplateError, TypeError, ValueError),
)


class ReplayError(SweepError, RuntimeError):
    """lm-eval requested a text that is not stored."""


class Replay(LM):
    """lm-eval model that returns the stored text of each document."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__()
        self._texts = texts

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return one stored text per request. Raises ReplayError if requests and texts do not match."""
        requested = [request.doc_id for request in requests]
        if requested != list(range(len(self._texts))):
            raise ReplayError(f"documents {requested}: {len(self._texts)} texts are stored. Add redo=traces.")
        return list(self._texts)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        raise ReplayError("loglikelihood: not stored. Only texts are replayed; use a generate_until task.")

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise ReplayError("loglikelihood_rolling: not stored. Only texts are replayed; use a generate_until task.")


class Documents(list[dict[str, Any]]):
    """Documents in place of the dataset that lm-eval expects. Keeps their types, which a Dataset would convert."""

    @property
    def features(self) -> dict[str, None]:
        return dict.fromkeys(self[0])


def load_task(name: str, source: Mapping[str, Any], path: Path | None = None) -> ConfigurableTask:
    """Build the task over its rows, to render prompts. Raises ConfigError if that is impossible.

    `source` locates the rows: `data_file`, JSON lines; `hub`, a Hub as a mapping; `data_files`, one path for each file
    that the YAML names; empty if a function of the YAML makes them.
    """
    task = read_task(name, path or task_file(name))
    fields = _fields(task)
    with _errors_naming(name, task.path, "render prompts of"), _quiet(), _seeded():
        built = ConfigurableTask(config=fields | _rows(task, fields, source))
    for field in ("doc_to_text", "doc_to_target"):
        value = fields[field]
        if (
            isinstance(value, str) and value.isidentifier() and value not in built.features
        ):  # lm-eval would take it as literal text
            raise task.refusal(field, value, f"not a column (columns: {', '.join(built.features)}). Name one of them")
    return built


def requests_of(task: ConfigurableTask, limit: int | None) -> list[Instance]:
    """Requests for the first `limit` rows: `args[0]` is the rendered prompt, `doc` the row."""
    with _errors_naming(*_of(task), "render prompts of"), _quiet(), _seeded():
        task.set_fewshot_seed(SEEDS[2])
        task.build_all_requests(limit=limit, rank=0, world_size=1)
    return task.instances


def task_over(docs: Sequence[Mapping[str, Any]], name: str, path: Path | None = None) -> ConfigurableTask:
    """Build the task over stored documents, to grade one text of each."""
    task = read_task(name, path or task_file(name))
    documents = Documents(map(dict, docs))
    rows = {**NO_ROWS, "custom_dataset": lambda **_lm_eval_arguments: {"test": documents}}
    fields = _fields(task) | NO_PROMPT | rows
    scoring: Any = fields.get("process_results")
    fields["metadata"] |= {GRADER: OURS.get(scoring)}
    with _errors_naming(name, task.path, "grade"), _quiet():
        built = ConfigurableTask(config=fields)
    _fit_our_grader(built)
    return built


def evaluate(task: ConfigurableTask, texts: Sequence[str]) -> dict[str, Any]:
    """lm-eval's results for one text per document, in order.

    Without standard errors, because samples of one question are not independent.
    """
    from lm_eval.evaluator import evaluate as lm_eval_evaluate

    with _errors_naming(*_of(task), "grade"), _quiet(), _seeded():
        results = lm_eval_evaluate(Replay(texts), {"tasks": {task.task_name: task}}, bootstrap_iters=0)
    assert results is not None  # it returns None only in processes other than the first, and there are none
    return dict(results)


def gold_of(task: ConfigurableTask, doc: Mapping[str, Any]) -> str:
    """The reference answer as text: the right choice, or a JSON list if there are several references."""
    target = task.doc_to_target(doc)
    if isinstance(target, int) and task.config.doc_to_choice is not None:
        target = task.doc_to_choice(doc)[target]
    return json.dumps(target, ensure_ascii=False) if isinstance(target, list) else str(target)


def _fit_our_grader(task: ConfigurableTask) -> None:
    """Adapt the task to our graders, which expect the reference of `doc_to_target` in `answer`, and texts in a list."""
    grade = task.config.process_results
    if grade not in OURS:
        return

    def process_results(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        texts = [results[0]] if isinstance(results[0], str) else results[0]
        return grade({**doc, "answer": gold_of(task, doc)}, [texts])

    task.set_config("process_results", process_results)


def _fields(task: TaskFile) -> dict[str, Any]:
    """Fields for lm-eval, with functions loaded, without those that only register the task in lm-eval's index."""
    with _errors_naming(task.name, task.path, "load"):
        fields = deepcopy(load_yaml(task.path))
    metrics = fields.get("metric_list") or [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]
    known = {each.get("metric") for each in metrics}
    lists = [{"metric": name, "aggregation": share, "higher_is_better": True} for name in PER_SAMPLE]
    if fields.get("process_results") is not None:
        metrics = [*metrics, *(each for each in lists if each["metric"] not in known)]
    version = fields["metadata"] if isinstance(fields.get("metadata"), dict) else {}
    kept = {field: value for field, value in fields.items() if field not in ("tag", "group", "task_list")}
    return {**kept, "task": task.name, "metric_list": metrics, "metadata": {**version, YAML_PATH: str(task.path)}}


def _rows(task: TaskFile, fields: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that define the source of the documents, and the splits for questions and few-shot examples."""
    test, examples = task.splits
    splits = {"test_split": test, "validation_split": None, "training_split": None, "fewshot_split": examples}
    if not task.fields.get("num_fewshot"):
        splits["fewshot_config"] = None
    given = {name: value for name, value in source.items() if value is not None}
    if fields.get("custom_dataset"):
        return {**splits, "metadata": {**fields["metadata"], **given}}
    if "data_files" in given:
        files: dict[str, list[str]] = {}
        for (split, _), place in zip(task.files_named(), given["data_files"], strict=True):
            files.setdefault(split, []).append(str(place))
        return {**splits, "dataset_kwargs": {**fields.get("dataset_kwargs", {}), "data_files": files}}
    tables = {test: _table(*_read(given))}
    if examples not in (None, test):  # from the same commit; a file has only one split (s1/evaluate/task_files.py)
        tables[examples] = _table(*_read({"hub": {**given["hub"], "split": examples}}))
    return {**splits, **NO_ROWS, "custom_dataset": lambda **_lm_eval_arguments: tables}


def _read(source: Mapping[str, Any]) -> tuple[str, list[Mapping[str, Any]]]:
    """Read rows with all columns; returns their name for errors, and the rows."""
    if "data_file" in source:
        return str(source["data_file"]), list(read_objects(Path(source["data_file"])))
    if "hub" in source:
        rows = rows_at(Hub(**source["hub"]), "task.hub", "set task.data_file to a local copy")
        return source["hub"]["repo"], list(rows)
    raise ConfigError("task.data_file null: the task has no rows. Set it to a JSON-lines file, or set task.hub.")


def _table(where: str, rows: Sequence[Mapping[str, Any]]) -> Dataset:
    if not rows:
        raise ConfigError(f"{where}: no rows. Write one JSON object per line.")
    columns = dict.fromkeys(column for row in rows for column in row)
    try:
        return Dataset.from_dict({column: [row.get(column) for row in rows] for column in columns})
    except (ArrowException, TypeError) as error:  # 1 in one row and "one" in another
        raise ConfigError(
            f"{where}: cannot be read as a table ({_line(error)}). Give each column values of one type."
        ) from None


@contextmanager
def _errors_naming(name: str, path: object, verb: str) -> Iterator[None]:
    """Convert an error of a YAML file or its functions into a one-line ConfigError that names the file."""
    try:
        yield
    except ConfigError:
        raise
    except TASK_ERRORS as error:
        reason = f"{type(error).__name__}: {_line(error)}"
        raise ConfigError(f"task {name}: lm-eval cannot {verb} this task ({reason}). Correct {path}.") from error


def _of(task: ConfigurableTask) -> tuple[str, str]:
    return task.task_name, task.config.metadata[YAML_PATH]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


@contextmanager
def _seeded() -> Iterator[None]:
    """Seed as lm-eval does, so that a task that shuffles its rows does so the same way each time."""
    states = random.getstate(), np.random.get_state()
    random.seed(SEEDS[0])
    np.random.seed(SEEDS[1])
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence lm-eval's warnings about custom datasets and its progress bars, which have no option."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


# ---------------------------------------------------------------------------------------------------- judgements


@dataclass(frozen=True)
class Judgement:
    extracted: str | None  # None: no answer could be read
    correct: bool
    note: str | None = None  # a GradeNote value, such as "timed_out"


@dataclass(frozen=True)
class Judge:
    """How a task judges answers."""

    task: str
    metric: str
    grader: GraderKind | None  # one of our graders, or None
    unread: frozenset[str] = frozenset({UNREAD})  # outputs of its filters if nothing matches

    def judgements(self, results: Mapping[str, Any]) -> list[Judgement]:
        """Judgements of all texts, in order.

        Raises ConfigError if the metric is missing, is not 0 or 1 for each answer, or is not averaged over answers.
        """
        records = results["samples"][self.task]
        first = [each for each in records if each["filter"] == records[0]["filter"]]
        found = [self._judgement(each) for each in sorted(first, key=lambda each: each["doc_id"])]
        self._check_sum(results["results"][self.task], records[0]["filter"], found)
        return found

    def _judgement(self, record: Mapping[str, Any]) -> Judgement:
        metrics = record["metrics"]
        if self.metric not in metrics:
            found = ", ".join(metrics) or "nothing"
            raise ConfigError(
                f"task {self.task} metric_list {self.metric!r}: process_results does not return it (returned: {found})."
                " Put the metric that judges answers first."
            )
        value, correct = record[self.metric], _one(record[self.metric])
        if correct not in (0, 1):
            raise ConfigError(
                f"task {self.task} metric_list {self.metric!r}: gives {value!r} for one answer instead of 0 or 1."
                " Put a metric that says right or wrong first."
            )
        read = _one(record["extracted"]) if "extracted" in metrics else self._filtered(record["filtered_resps"][0])
        note = _one(record["notes"]) if "notes" in metrics else None
        return Judgement(None if read is None else str(read), bool(correct), note)

    def _filtered(self, response: Any) -> str | None:
        text = str(_one(response)).strip()
        return None if text in self.unread else text or None

    def _check_sum(self, aggregate: Mapping[str, Any], filtered: str, found: Sequence[Judgement]) -> None:
        theirs, ours = aggregate[f"{self.metric},{filtered}"], sum(each.correct for each in found) / len(found)
        if not math.isclose(theirs, ours, abs_tol=1e-12):
            raise ConfigError(
                f"task {self.task} metric_list {self.metric!r}: lm-eval reports {theirs}, which is not the mean over"
                f" answers ({ours})."
                " Set aggregation: mean."
            )


def judge_of(task: Any) -> Judge:
    """Build the judge of an lm-eval task."""
    steps = [step for each in task.config.filter_list or () for step in each["filter"]]
    unread = {step["fallback"] for step in steps if isinstance(step.get("fallback"), str)}
    grader = task.config.metadata[GRADER]
    return Judge(task.task_name, next(iter(task.aggregation())), grader, frozenset({UNREAD, *unread}))


def _one(value: Any) -> Any:
    """The item of a list of length one; any other value as it is."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
