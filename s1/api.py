"""The Python API, re-exported by `import s1`: plan, run, and load results.

    result = s1.run("smoke", "budget.max_thinking_tokens=4,16")     like `python -m sweep +experiment=smoke ... -m`
    result = s1.load("results/smoke/latest")                        load a finished result
    result.points, result.questions                                 pandas frames
    result.traces("max 4")                                          frozen dataclasses

Reading verifies everything: files of the result against its manifest, and artifacts in the store against the digests in
the manifest.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from s1.files.csv_files import HAS_AXES, Type, columns_of
from s1.files.csv_files import read_rows as read_table
from s1.generate.trace import Part, Segment, TokenOrigin
from s1.records import AnswerEnd, Ending, Outcome, Question, ScoreRow, TraceRow, read_rows
from sweep.api import (
    Artifact,
    InputError,
    PublishedResult,
    RunError,
    RunPlan,
    StoreError,
    artifact_of,
    file_of,
    only_our_errors,
    open_result,
    plan_command,
    run_command,
)
from sweep.places import expanded

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["InputError", "Point", "Result", "RunError", "RunPlan", "StoreError", "Trace", "load", "plan", "run"]
EXPERIMENT = re.compile(r"[\w./-]+")
POINTS = "table.csv"
CURVE, SCORES, TRACES, QUESTIONS = "curve", "scores", "traces", "questions"  # names of stages and of inputs
DTYPES = {Type.TEXT: "string", Type.NUMBER: "Float64", Type.INTEGER: "Int64"}


@dataclass(frozen=True)
class Point:
    """One point of one seed: its values on the axes, and where the store keeps its traces and scores."""

    label: str  # "max 16", as in the tables
    seed: int
    values: Mapping[str, Any]  # by axis
    key: str  # of scores/<key>
    traces: str  # address of its traces: traces/<key>
    scores: str  # address of its scores: scores/<key>


@dataclass(frozen=True)
class Trace:
    """Everything generated for one question and sample, and how it was judged."""

    point: str  # its label
    seed: int
    question_id: str
    sample: int
    prompt: str  # the user's turn
    thinking: str
    answer: str
    gold: str
    extracted: str | None  # the answer as the grader read it; None: it found none
    correct: bool
    outcome: Outcome
    ending: Ending  # of the thinking
    answer_end: AnswerEnd
    thinking_tokens: int
    answer_tokens: int | None  # None: no answer was requested
    waits: int
    segments: tuple[Segment, ...]  # token ids, each with its part and whether it was sampled or forced


def plan(experiment: str | None = None, *overrides: str) -> RunPlan:
    """Show what `run` would do and cost, without running anything. Raises InputError, StoreError."""
    return plan_command(_arguments(experiment, overrides))


def run(experiment: str | None = None, *overrides: str, quiet: bool = False) -> Result:
    """Run an experiment of conf/experiment on this machine and load its result; finished stages are reused.

    Overrides are as on the command line: "budget.max_thinking_tokens=4,8", "store=DIR". Without an experiment they are
    the whole command. Raises InputError for an invalid configuration, StoreError, and RunError if a stage failed.
    """
    path, store = run_command(_arguments(experiment, overrides), quiet)
    return load(path, store=store)


@only_our_errors()
def load(path: str | PathLike[str], *, store: str | PathLike[str] = "store") -> Result:
    """Load a finished result, such as results/smoke/latest; `store` holds its traces and scores.

    Raises InputError if there is no result, StoreError if its manifest is damaged.
    """
    for field, given in (("path", path), ("store", store)):
        if not isinstance(given, str | PathLike):
            raise InputError(f"{field} {given!r}: not a path. Give a text or a pathlib.Path.")
    kept_in = expanded("store", store).absolute()
    found = open_result(Path(os.path.realpath(expanded("path", path))), kept_in)
    return Result(found.path, found.name, kept_in, found)


@dataclass(frozen=True)
class Result:
    """A finished result. Every read raises StoreError if the bytes are not those that were published."""

    path: Path
    name: str  # name/key
    store: Path
    _published: PublishedResult = dataclasses.field(repr=False, compare=False)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """manifest.json: stages, digests, cost, versions."""
        return self._published.manifest.content

    @cached_property
    def points(self) -> DataFrame:
        """table.csv: one row per point, shares between 0 and 1; <NA> is missing, `valid` is a boolean."""
        return self.table(POINTS)

    @cached_property
    def questions(self) -> DataFrame:
        """One row per question, sample, point and seed; the axes of the sweep are columns with their full names."""
        import pandas

        frame = pandas.DataFrame([row for point in self.evaluated for row in self._rows(point)])
        integers = ("seed", "sample", "thinking_tokens", "answer_tokens", "thinks_on_tokens", "waits", "sampled_tokens")
        texts = ("point", "key", "question_id", "gold", "extracted", "outcome", "ending", "answer_end", "note")
        axes = list(dict.fromkeys(axis for point in self.evaluated for axis in point.values if axis != "seed"))
        frame[axes] = frame[axes].convert_dtypes()
        return frame.astype(
            {**dict.fromkeys(integers, "Int64"), **dict.fromkeys(texts, "string"), "correct": "boolean"}
        )

    def table(self, name: str) -> DataFrame:
        """One CSV file of this result as a frame. Raises InputError for an unknown name or a missing file."""
        import pandas

        known = sorted(each for each in self._published.manifest.all_files if each.endswith(".csv"))
        if name not in known:
            raise InputError(f"{name}: no such CSV file in {self.name}. Known: {', '.join(known)}.")
        path = file_of(self._published, name)
        types, rows = columns_of(path), read_table(path)
        frame = pandas.DataFrame(rows, columns=list(rows[0]) if rows else list(types), dtype=object)
        for column in frame.columns:
            of = types.get(column)
            if of is Type.FLAG:
                frame[column] = frame[column].map(lambda text: {"yes": True, "no": False}.get(text)).astype("boolean")
            elif of is not None:
                frame[column] = frame[column].astype(DTYPES[of])
            elif name in HAS_AXES:  # an axis column, which the file stores as text
                texts = frame[column].astype("string")
                numbers = cast("Series", pandas.to_numeric(texts, errors="coerce"))  # of a Series, a Series
                is_number = bool((numbers.notna() | frame[column].isna()).all())
                frame[column] = numbers.convert_dtypes() if is_number else frame[column].astype("string")
        return frame

    @cached_property
    def evaluated(self) -> tuple[Point, ...]:
        """Every point of every seed. Raises InputError for a result without points, such as that of goal=data."""
        curves = [each for each in self._published.manifest.digests if each.startswith(f"{CURVE}/")]
        if len(curves) != 1:
            raise InputError(
                f"{self.name}: its goal was not curve, so it has no points. Read its CSV files with table()."
            )
        curve = self._artifact(curves[0])
        together = zip(curve.config["points"], curve.inputs[SCORES], curve.inputs[TRACES], strict=True)
        return tuple(
            Point(point["label"], point["seed"], point["values"], scores.rpartition("/")[2], traces, scores)
            for point, scores, traces in together
        )

    def traces(self, point: str | Point) -> Iterator[Trace]:
        """Traces of a point, in the order of the questions. `point` is a label, a key, or a member of `evaluated`.

        A label that several seeds or series share gives the traces of all of them. Raises InputError for an unknown
        point.
        """
        chosen = [each for each in self.evaluated if point in (each, each.label, each.key)]
        if not chosen:
            known = ", ".join(dict.fromkeys(each.label for each in self.evaluated))
            raise InputError(f"point {point!r}: not in {self.name}. There are: {known}.")
        return (trace for each in chosen for trace in self._traces(each))

    def _traces(self, point: Point) -> Iterator[Trace]:
        traces = self._artifact(point.traces)
        (address,) = traces.inputs[QUESTIONS]
        questions = read_rows(self._artifact(address).out / "questions.jsonl", Question)
        prompts = {each.question_id: each.prompt for each in questions}
        scores = {(each.question_id, each.sample): each for each in self._scores(point)}
        for answer in read_rows(traces.out / "traces.jsonl", TraceRow):
            yield _trace(point, prompts[answer.question_id], answer, scores[answer.question_id, answer.sample])

    def _scores(self, point: Point) -> list[ScoreRow]:
        return read_rows(self._artifact(point.scores).out / "scores.jsonl", ScoreRow)

    def _rows(self, point: Point) -> Iterator[dict[str, Any]]:
        for score in self._scores(point):
            fields = {field.name: getattr(score, field.name) for field in dataclasses.fields(score)}
            plain = {name: value.value if hasattr(value, "value") else value for name, value in fields.items()}
            yield {"point": point.label, "seed": point.seed, **point.values, "key": point.key, **plain}

    def _artifact(self, address: str) -> Artifact:
        return artifact_of(self._published, address, self.store)


def _trace(point: Point, prompt: str, answer: TraceRow, score: ScoreRow) -> Trace:
    return Trace(
        point=point.label,
        seed=point.seed,
        question_id=answer.question_id,
        sample=answer.sample,
        prompt=prompt,
        thinking=answer.thinking,
        answer=answer.answer,
        gold=score.gold,
        extracted=score.extracted,
        correct=score.correct,
        outcome=score.outcome,
        ending=answer.ending,
        answer_end=score.answer_end,
        thinking_tokens=answer.thinking_tokens,
        answer_tokens=answer.answer_tokens,
        waits=answer.waits,
        segments=tuple(map(_segment, answer.segments)),
    )


def _segment(written: Mapping[str, Any]) -> Segment:
    ended_by = written.get("ended_by")
    return Segment(
        ids=tuple(written["ids"]),
        part=Part(written["part"]),
        origin=TokenOrigin(written["origin"]),
        ended_by=None if ended_by is None else tuple(ended_by),
    )


def _arguments(experiment: str | None, overrides: tuple[str, ...]) -> list[str]:
    """The equivalent command line."""
    if experiment is not None and not (isinstance(experiment, str) and EXPERIMENT.fullmatch(experiment)):
        raise InputError(
            f"experiment {experiment!r}: not a name. Give the name of a file in conf/experiment, such as 'smoke'."
        )
    for each in overrides:
        if not isinstance(each, str) or each.startswith("-") or "=" not in each:
            raise InputError(f"override {each!r}: sets no field. Write FIELD=VALUE, as on the command line.")
    return [*([] if experiment is None else [f"+experiment={experiment}"]), *overrides, "-m"]
