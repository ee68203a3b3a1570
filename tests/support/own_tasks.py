"""A folder of lm-eval tasks as a user writes them, and their stages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s1.config.schema import Task
from s1.evaluate.questions import questions
from s1.evaluate.score import scores
from s1.evaluate.task_identity import own_file, scoring
from s1.evaluation_stages import questions_stage
from s1.records import AnswerEnd, Ending, Question, ScoreRow, TraceRow, read_rows, write_rows
from s1.stages import ScoresConfig
from sweep.core.stage import FileInput, Work

ROWS = [
    {"id": n, "problem": f"What is {n} times 7?", "answer": 7 * n, "solution": 7 * n, "level": "easy"}
    for n in (2, 5, 6)
]


TEMPLATE = """
doc_to_text: "Solve: {{problem}} Think first."
doc_to_target: "{{solution}}"
process_results: !function s1.evaluate.graders.integer_results
"""


GSM8K = r"""
tag: [math_word_problems]
task: gsm8k_local
dataset_path: json
dataset_kwargs: {data_files: {train: train.jsonl, test: test.jsonl}}
output_type: generate_until
training_split: train
fewshot_split: train
test_split: test
doc_to_text: "Question: {{question}}\nAnswer:"
doc_to_target: "{{answer}}"
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    ignore_punctuation: false
    regexes_to_ignore: [",", "\\$", "(?s).*#### ", "\\.$"]
generation_kwargs: {until: ["Question:", "</s>"], do_sample: false, temperature: 0.0}
repeats: 1
num_fewshot: 2
filter_list:
  - name: strict-match
    filter:
      - {function: regex, regex_pattern: "#### (\\-?[0-9\\.\\,]+)"}
      - {function: take_first}
  - name: flexible-extract
    filter:
      - {function: regex, group_select: -1, regex_pattern: "(-?[$0-9.,]{2,})|(-?[0-9]+)"}
      - {function: take_first}
"""


@dataclass(frozen=True)
class Place:
    """A directory in which commands are typed."""

    root: Path

    def task(self, text: str, name: str = "mytask") -> None:
        (self.root / "tasks").mkdir(exist_ok=True)
        (self.root / "tasks" / f"{name}.yaml").write_text(text, encoding="utf-8")

    def rows(self, rows: Sequence[Mapping[str, Any]], name: str = "rows.jsonl") -> str:
        (self.root / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return name

    def asked(self, rows: str | None = "rows.jsonl", name: str = "mytask", **fields: Any) -> list[Question]:
        """The questions, planned here and made by a worker that stands elsewhere."""
        stage = questions_stage(Task(name, data_file=rows, **fields))
        work = self.work(stage.config, stage.inputs, stage.settings, "questions")
        with chdir(self.root / "store"):
            questions(work)
        return read_rows(work.out / "questions.jsonl", Question)

    def work(
        self, config: Any, inputs: Mapping[str, Sequence[Any]], settings: Mapping[str, Any], name: str
    ) -> Work[Any]:
        out = self.root / "store" / name
        out.mkdir(parents=True)
        paths = {
            role: tuple(each.path if isinstance(each, FileInput) else each for each in given)
            for role, given in inputs.items()
        }
        return Work(name, config, paths, out, out, out, settings=settings, report=lambda done, total, unit: None)

    def scored(self, answers: Sequence[TraceRow], name: str = "mytask", samples: int = 1) -> list[ScoreRow]:
        given = self.root / "store" / "traces"
        given.mkdir()
        write_rows(given / "traces.jsonl", answers)
        inputs = {
            "traces": (given,),
            "questions": (self.root / "store" / "questions",),
        }
        work = self.work(ScoresConfig(name, samples, scoring(name)), inputs, {"task": own_file(name)}, "scores")
        (finished,) = scores([work])
        rows = read_rows(work.out / "scores.jsonl", ScoreRow)
        assert finished.summary["accuracy"] == sum(row.correct for row in rows) / len(rows)
        return rows


def answer(question: Question, text: str, sample: int = 0, end: AnswerEnd = AnswerEnd.STOP) -> TraceRow:
    return TraceRow(question.question_id, sample, 5, [], "", text, Ending.NATURAL, 9, 4, end, 0, 0, 14)


def verdicts(scores: Sequence[ScoreRow]) -> list[tuple[str | None, bool]]:
    return [(score.extracted, score.correct) for score in scores]
