"""The questions stage: what will be asked, as the lm-eval task words it.

questions.jsonl      Question, in the order of the rows; its id is the hash of the task's own words, so that the same
                     question has one id under all instructions

The rows are the input "rows", a file or a product with rows.jsonl; without one they are the hub's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from s1.config import ConfigError
from s1.evaluate.replay import load_task, requests_of
from s1.records import Question, write_rows
from s1.stages import Questions
from sweep.identity import key_of
from sweep.stage import Summary, Work


def questions(work: Work[Questions]) -> Summary:
    """Write questions.jsonl. Raises ConfigError for rows that cannot be read, asked or graded."""
    config = work.config
    task = load_task(config.task, _source(work))
    requests = requests_of(task, config.limit)
    for request in requests:
        _check_gold(task, request.doc)
    distinct = _distinct(config.task, [(request.args[0], request.doc) for request in requests])
    asked = [replace(each, prompt=instructed(each.prompt, config.instruction)) for each in distinct]
    write_rows(work.out / "questions.jsonl", asked)
    commit = {"commit": config.hub.revision} if config.hub and not work.inputs.get("rows") else {}
    return {"questions": len(asked), **commit}


def instructed(prompt: str, instruction: str | None) -> str:
    """The user's turn of conditional control (paper, Figure 10); as it is without an instruction."""
    return prompt if instruction is None else f"{prompt.strip()}\n\n{instruction}"


def _source(work: Work[Questions]) -> dict[str, Any]:
    if work.inputs.get("rows"):
        path = work.one("rows")
        return {"data_file": str(path / "rows.jsonl" if path.is_dir() else path)}
    return {"hub": asdict(work.config.hub) if work.config.hub else None}


def _distinct(task: str, asked: Sequence[tuple[str, dict[str, str]]]) -> Iterator[Question]:
    rows_by_prompt: dict[str, str] = {}
    for prompt, doc in asked:
        if prompt in rows_by_prompt:
            raise ConfigError(
                f"task {task} row {doc['id']}: asks the same as row {rows_by_prompt[prompt]}. Remove one of them."
            )
        rows_by_prompt[prompt] = doc["id"]
        yield Question(question_id=key_of(prompt), prompt=prompt, gold=doc["answer"])


def _check_gold(task: Any, doc: dict[str, str]) -> None:
    """A reference that its own grader cannot read would count every answer as wrong."""
    if task.process_results(doc, [[rf"\boxed{{{doc['answer']}}}"]])["correct"] != [True]:
        raise ConfigError(
            f"task {task.task_name} row {doc['id']}: the reference {doc['answer']!r} cannot be graded. Mend the row."
        )
