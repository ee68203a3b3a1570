"""The questions stage: what will be asked, as the lm-eval task words it.

questions.jsonl      Question, in the order of the rows, each with the document it was made of; its id is the hash of
                     the task's own words, so that the same question has one id under all instructions

The rows are the input "rows", a file or a product with rows.jsonl; without one they are the hub's, or what the task's
YAML says, whose files are the input "data". What cannot be judged is refused here, before anything is
generated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from s1.config.schema import ConfigError
from s1.evaluate.judging import Judgement, judge_of
from s1.evaluate.replay import evaluate, gold_of, load_task, requests_of, task_over
from s1.evaluate.task_identity import require_planned, wording
from s1.records import Question, write_rows
from s1.stages import QuestionsConfig
from sweep.core.identity import key_of
from sweep.core.stage import Summary, Work


def questions(work: Work[QuestionsConfig]) -> Summary:
    """Write questions.jsonl. Raises ConfigError for rows that cannot be read, asked or graded."""
    config, path = work.config, task_path(work)
    require_planned(config.task, config.wording, wording(config.task, path))
    task = load_task(config.task, _source(work), path)
    requests = requests_of(task, config.limit)
    asked = [(request.args[0], request.doc, gold_of(task, request.doc)) for request in requests]
    found = list(_distinct(config.task, asked))
    _check_grading(config.task, path, found)
    worded = [replace(each, prompt=instructed(each.prompt, config.instruction)) for each in found]
    write_rows(work.out / "questions.jsonl", worded)
    commit = {"commit": config.hub.revision} if config.hub and not work.inputs.get("rows") else {}
    return {"questions": len(worded), **commit}


def instructed(prompt: str, instruction: str | None) -> str:
    """The user's turn of conditional control (paper, Figure 10); as it is without an instruction."""
    return prompt if instruction is None else f"{prompt.strip()}\n\n{instruction}"


def task_path(work: Work[Any]) -> Path | None:
    """The task's YAML as it was planned; None: where this process finds it."""
    place = work.settings.get("task")
    return None if place is None else Path(str(place))


def document(question: Question) -> Mapping[str, Any]:
    """What the task judges its answers with; of a question that keeps none, our own columns."""
    return question.doc or {"id": question.question_id, "problem": question.prompt, "answer": question.gold}


def _source(work: Work[QuestionsConfig]) -> dict[str, Any]:
    if work.inputs.get("data"):
        return {"data_files": [str(path) for path in work.inputs["data"]]}
    if work.inputs.get("rows"):
        path = work.one("rows")
        return {"data_file": str(path / "rows.jsonl" if path.is_dir() else path)}
    return {"hub": asdict(work.config.hub) if work.config.hub else None}


def _distinct(task: str, asked: Sequence[tuple[Any, dict[str, Any], str]]) -> Iterator[Question]:
    """Raises ConfigError for a question without words, or with those of another: instructions would make them one."""
    rows_by_words: dict[str, str] = {}
    for number, (prompt, doc, gold) in enumerate(asked, start=1):
        row = str(doc.get("id", number))
        if not isinstance(prompt, str) or not prompt.strip():
            raise ConfigError(f"task {task} row {row}: doc_to_text gives {prompt!r}, which asks nothing. Correct it.")
        words = prompt.strip()
        if words in rows_by_words:
            raise ConfigError(
                f"task {task} row {row}: asks the same as row {rows_by_words[words]}. Remove one of them."
            )
        rows_by_words[words] = row
        yield Question(question_id=key_of(prompt), prompt=prompt, gold=gold, doc=_kept(task, row, doc))


def _kept(task: str, row: str, doc: Mapping[str, Any]) -> dict[str, Any]:
    """The document, which must be the same once it is written and read."""
    for column, value in doc.items():
        try:
            same = json.loads(json.dumps(value)) == value
        except (TypeError, ValueError):
            same = False
        if not same:
            kind = type(value).__name__
            raise ConfigError(f"task {task} row {row} column {column!r}: a {kind} is not JSON. Make it text.")
    return dict(doc)


def _check_grading(task: str, path: Path | None, asked: Sequence[Question]) -> None:
    """Judge references and empty answers as answers will be: what a task cannot judge is known before it is asked."""
    over = task_over([document(question) for question in asked], task, path)
    judge = judge_of(over)
    ours = judge.grader is not None
    texts = [rf"\boxed{{{question.gold}}}" if ours else question.gold for question in asked]
    judged = judge.judgements(evaluate(over, texts))
    if ours:
        _check_references(task, asked, judged)
    else:
        judge.judgements(
            evaluate(over, [f"{each.prompt} {each.gold}" for each in asked])
        )  # a share of words shows here
        if judge.judgements(evaluate(over, texts)) != judged:
            raise ConfigError(f"task {task}: judges the same answers differently. Make process_results exact.")
    for question, judgement in zip(asked, judge.judgements(evaluate(over, [""] * len(texts))), strict=True):
        if judgement.correct:
            raise ConfigError(
                f"task {task} question {question.prompt[:60]!r}: an answer without a word counts as right."
                " Correct doc_to_target or process_results."
            )


def _check_references(task: str, asked: Sequence[Question], judged: Sequence[Judgement]) -> None:
    """A reference that its own grader cannot read would count every answer as wrong."""
    for number, (question, judgement) in enumerate(zip(asked, judged, strict=True), start=1):
        if not judgement.correct:
            row = document(question).get("id", number)
            raise ConfigError(
                f"task {task} row {row}: the reference {question.gold!r} cannot be graded. Correct the row."
            )
