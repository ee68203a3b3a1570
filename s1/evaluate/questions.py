"""The questions stage: render prompts with the lm-eval task, and check that answers to them can be graded.

questions.jsonl      Question, in the order of the rows, each with its source document. The id is the hash of the task's
                     prompt without the instruction, so a question has the same id under all instructions

The rows come from the input "rows" (a file, or an artifact with rows.jsonl), from the hub, or from the task's YAML,
whose files are the input "data". Questions that cannot be graded are refused here, before anything is generated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from s1.config.schema import ConfigError
from s1.evaluate.replay import Judgement, evaluate, gold_of, judge_of, load_task, requests_of, task_over
from s1.evaluate.task_identity import require_planned, wording
from s1.records import Question, write_rows
from s1.stages import QuestionsConfig
from sweep.core.identity import key_of
from sweep.core.stage import Summary, Work

Row = TypeVar("Row")


def questions(work: Work[QuestionsConfig]) -> Summary:
    """Write questions.jsonl. Raises ConfigError for rows that cannot be read, rendered or graded."""
    config, path = work.config, task_path(work)
    require_planned(config.task, config.wording, wording(config.task, path))
    task = load_task(config.task, _source(work), path)
    requests = drawn(requests_of(task, config.limit if config.draw_seed is None else None), config)
    rendered = [(request.args[0], request.doc, gold_of(task, request.doc)) for request in requests]
    distinct = list(_distinct(config.task, rendered))
    _check_grading(config.task, path, distinct)
    found = [replace(each, prompt=instructed(each.prompt, config.instruction)) for each in distinct]
    write_rows(work.out / "questions.jsonl", found)
    commit = {"commit": config.hub.revision} if config.hub and not work.inputs.get("rows") else {}
    return {"questions": len(found), **commit}


def drawn(requests: Sequence[Row], config: QuestionsConfig) -> Sequence[Row]:
    """A random choice of `limit` requests, in their order; all of them without a seed, a limit or so many rows."""
    if config.draw_seed is None or config.limit is None or config.limit >= len(requests):
        return requests
    chosen = Random(config.draw_seed).sample(range(len(requests)), config.limit)
    return [requests[index] for index in sorted(chosen)]


def instructed(prompt: str, instruction: str | None) -> str:
    """Append the instruction of conditional control to a prompt (paper, Figure 10), if there is one."""
    return prompt if instruction is None else f"{prompt.strip()}\n\n{instruction}"


def task_path(work: Work[Any]) -> Path | None:
    """Path of the task's YAML as planned; None: this process looks it up by name."""
    place = work.settings.get("task")
    return None if place is None else Path(str(place))


def document(question: Question) -> Mapping[str, Any]:
    """The document that the task grades answers with; built from our own columns if the question has none."""
    return question.doc or {"id": question.question_id, "problem": question.prompt, "answer": question.gold}


def _source(work: Work[QuestionsConfig]) -> dict[str, Any]:
    if work.inputs.get("data"):
        return {"data_files": [str(path) for path in work.inputs["data"]]}
    if work.inputs.get("rows"):
        path = work.one("rows")
        return {"data_file": str(path / "rows.jsonl" if path.is_dir() else path)}
    return {"hub": asdict(work.config.hub) if work.config.hub else None}


def _distinct(task: str, rendered: Sequence[tuple[Any, dict[str, Any], str]]) -> Iterator[Question]:
    """Raise ConfigError for an empty prompt, or two that differ only in outer spaces, which instructions strip."""
    rows_by_text: dict[str, str] = {}
    for number, (prompt, doc, gold) in enumerate(rendered, start=1):
        row = str(doc.get("id", number))
        if not isinstance(prompt, str) or not prompt.strip():
            raise ConfigError(f"task {task} row {row}: doc_to_text gives {prompt!r}, not a question. Correct it.")
        text = prompt.strip()
        if text in rows_by_text:
            raise ConfigError(
                f"task {task} row {row}: has the same question as row {rows_by_text[text]}. Remove one of them."
            )
        rows_by_text[text] = row
        yield Question(question_id=key_of(prompt), prompt=prompt, gold=gold, doc=_storable(task, row, doc))


def _storable(task: str, row: str, doc: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document. Raises ConfigError if it does not survive a round trip through JSON."""
    for column, value in doc.items():
        try:
            same = json.loads(json.dumps(value)) == value
        except (TypeError, ValueError):
            same = False
        if not same:
            kind = type(value).__name__
            raise ConfigError(
                f"task {task} row {row} column {column!r}: a {kind} cannot be stored as JSON. Convert it to text."
            )
    return dict(doc)


def _check_grading(task: str, path: Path | None, questions: Sequence[Question]) -> None:
    """Grade the references and empty answers, to find a task that cannot grade before anything is generated."""
    over = task_over([document(question) for question in questions], task, path)
    judge = judge_of(over)
    ours = judge.grader is not None
    texts = [rf"\boxed{{{question.gold}}}" if ours else question.gold for question in questions]
    judged = judge.judgements(evaluate(over, texts))
    if ours:
        _check_references(task, questions, judged)
    else:
        # A metric that gives a share of matching words raises here.
        judge.judgements(evaluate(over, [f"{each.prompt} {each.gold}" for each in questions]))
        if judge.judgements(evaluate(over, texts)) != judged:
            raise ConfigError(
                f"task {task}: grades the same answers differently each time. Make process_results deterministic."
            )
    for question, judgement in zip(questions, judge.judgements(evaluate(over, [""] * len(texts))), strict=True):
        if judgement.correct:
            raise ConfigError(
                f"task {task} question {question.prompt[:60]!r}: an empty answer counts as right."
                " Correct doc_to_target or process_results."
            )


def _check_references(task: str, questions: Sequence[Question], judged: Sequence[Judgement]) -> None:
    """Raise ConfigError for a reference that its own grader rejects, because every answer would count as wrong."""
    for number, (question, judgement) in enumerate(zip(questions, judged, strict=True), start=1):
        if not judgement.correct:
            row = document(question).get("id", number)
            raise ConfigError(
                f"task {task} row {row}: the reference {question.gold!r} cannot be graded. Correct the row."
            )
