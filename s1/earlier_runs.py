"""Lengths and speed of finished generation in the store, for the estimate of a plan. Reads; never writes.

A traces stage counts as evidence for a point if it read the same weights, questions from the same rows (all or some)
and has the same thinking format. Its speed counts where the engine, its device, its slots and its copies are the same,
and on this machine: a run on another host is left out, and so is one that sampled next to nothing.
"""

from __future__ import annotations

import json
import platform
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from s1.generate.trace_row import TRACES_FILE
from s1.lengths import Lengths, TraceLength
from s1.trace_size import measured_bytes_per_token
from sweep.core.identity import Json, canonical
from sweep.core.stage import Stage
from sweep.json_files import StoreError
from sweep.store.directory import StageDirectory, Store
from sweep.store.documents import StageJson

SPEED_SETTINGS = ("device", "slots", "data_parallel", "cache_gib")
LEAST_TOKENS = 500  # newly sampled: a stage that the continuation store served tells no speed
MOST_TRACES = 2_000  # read of one stage: enough for any interval, and planning stays fast


@dataclass(frozen=True)
class Speed:
    """Speed of one copy of a model on this machine."""

    tokens_per_second: float
    traces_together: int | None  # that it decoded at the same time; None: the speed holds for any number
    start_seconds: float  # of its worker, before the first token


@dataclass(frozen=True)
class EarlierRun:
    """What one finished stage of traces says."""

    address: str
    lengths: Lengths
    bytes_per_token: float  # of traces.jsonl, ids and text
    speed: Speed | None

    @property
    def source(self) -> str:
        return f"lengths: {len(self.lengths.questions)} questions in {self.address}"


class EarlierRuns:
    """Finished traces stages of a store, each read once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._described = store.made("traces", most=200)
        self._questions: dict[str, Json] = {}
        self._read: dict[tuple[str, str], EarlierRun | None] = {}

    def of(self, traces: Stage) -> Sequence[EarlierRun]:
        """Runs of the same model, questions and thinking format as a traces stage, the most informative first.

        The questions may be fewer or others of the same rows.
        """
        weights, questions = (next(iter(traces.inputs[role])) for role in ("model", "questions"))
        if not isinstance(weights, Stage) or not isinstance(questions, Stage):
            return ()
        wanted, rows = canonical(traces.config), _planned_rows(questions)
        found: list[EarlierRun] = []
        for key, described in self._described.items():
            config = described["identity"]["config"]
            if _input(described, "model") != weights.address or not _same_format(config, wanted):
                continue
            if self._rows(described) == rows and (run := self._run(key, described, traces)) is not None:
                found.append(run)
        return sorted(found, key=_information, reverse=True)

    def _rows(self, described: StageJson) -> Json:
        """What the questions of a run were drawn from; None: unknown."""
        address = _input(described, "questions")
        if address is None:
            return None
        if address not in self._questions:
            self._questions[address] = None
            with suppress(StoreError, OSError, KeyError, TypeError):
                described = StageDirectory(self.store.root / address).read_stage()
                places: Sequence[Mapping[str, Any]] = described["inputs"].get("rows", [])
                made = [self._config(place["stage"]) if "stage" in place else None for place in places]
                self._questions[address] = _drawn_from(described["identity"], made)
        return self._questions[address]

    def _config(self, address: str) -> Any:
        return StageDirectory(self.store.root / address).read_stage()["identity"]["config"]

    def _run(self, key: str, described: StageJson, traces: Stage) -> EarlierRun | None:
        """A run, with its speed if it had the engine of `traces`."""
        made = traces.shards[0] if traces.shards else traces
        place = (key, repr((_table(canonical(traces.config))["engine"], made.settings)))
        if place not in self._read:
            self._read[place] = None
            with suppress(StoreError, OSError, KeyError, TypeError, ValueError):
                self._read[place] = _read(StageDirectory(self.store.root / "traces" / key), described, traces)
        return self._read[place]


def _planned_rows(questions: Stage) -> Json:
    made = [canonical(each.config) if isinstance(each, Stage) else None for each in questions.inputs.get("rows", ())]
    return _drawn_from(questions.identity(), made)


def _drawn_from(questions: Mapping[str, Any], made: Sequence[Any]) -> Json:
    """What questions are drawn from: the identity of their stage without their number, the draw and the code.

    `made`: configs of the stages that made its rows, None for files. Rows of a generator differ in their number only.
    """
    config = {name: value for name, value in questions["config"].items() if name not in ("limit", "draw_seed")}
    inputs = dict(questions["inputs"])
    keys = zip(inputs.get("rows", ()), made, strict=True)
    rows = [key if each is None else {**each, "problems": None} for key, each in keys]
    return {"config": config, "inputs": {**inputs, "rows": rows}}


def _information(run: EarlierRun) -> tuple[float, int, int]:
    budget = run.lengths.budget_tokens
    return (float("inf") if budget is None else budget, run.lengths.waits, len(run.lengths.questions))


def _input(described: StageJson, role: str) -> str | None:
    """The address of the only stage of an input; None for a file."""
    places: Sequence[Mapping[str, Any]] = described["inputs"].get(role, [])
    return str(places[0]["stage"]) if len(places) == 1 and "stage" in places[0] else None


def _same_format(one: Any, other: Any) -> bool:
    """Whether two configs of traces agree in what lengths depend on beside the budget."""
    names = ("thinking_format", "context_tokens")
    forcing = [each["budget"]["forcing"] for each in (one, other)]
    sampled = [each["generate"]["temperature"] for each in (one, other)]
    return forcing == ["budget", "budget"] and sampled[0] == sampled[1] and all(one[n] == other[n] for n in names)


def _read(directory: StageDirectory, described: StageJson, traces: Stage) -> EarlierRun | None:
    file = directory.out / TRACES_FILE
    lines = file.read_text(encoding="utf-8").splitlines()[:MOST_TRACES]
    rows = list(_rows(lines))
    by_question: dict[str, list[TraceLength]] = defaultdict(list)
    for question, length in rows:
        by_question[question].append(length)
    if not by_question:
        return None
    config: Any = described["identity"]["config"]
    tokens = sum(each.thinking_tokens + each.answer_tokens for _, each in rows)
    return EarlierRun(
        address=directory.address,
        lengths=Lengths(
            tuple(map(tuple, by_question.values())),
            _waits(config),
            config["budget"]["max_thinking_tokens"],
            config["budget"]["answer_tokens"],
        ),
        bytes_per_token=measured_bytes_per_token(sum(len(line.encode()) for line in lines), len(rows), tokens),
        speed=_speed(directory, described, traces, len(rows)),
    )


def _waits(config: Any) -> int:
    return int(config["budget"]["waits"])


def _rows(lines: Sequence[str]) -> Iterator[tuple[str, TraceLength]]:
    for line in lines:
        row = json.loads(line)
        yield (
            row["question_id"],
            TraceLength(_natural(row), int(row["thinking_tokens"]), int(row["answer_tokens"] or 0)),
        )


def _natural(row: Mapping[str, Any]) -> int:
    """Thinking tokens before the first text that the budget appended."""
    count = 0
    for segment in row["segments"]:
        if segment["part"] == "thinking":
            if segment["origin"] != "sampled":
                return count
            count += len(segment["ids"])
    return count


def _speed(directory: StageDirectory, described: StageJson, traces: Stage, rows: int) -> Speed | None:
    """Speed of the engine; None if too few tokens tell, or it ran elsewhere or otherwise."""
    record, config = directory.read_record(), canonical(traces.config)
    other: Any = described["identity"]["config"]
    made = traces.shards[0] if traces.shards else traces
    is_same = all(described["settings"].get(name) == made.settings.get(name) for name in SPEED_SETTINGS)
    if record["shards"] or other["engine"] != _table(config)["engine"] or not is_same:
        return None
    summary = record["summary"]
    speed, tokens = (float(summary.get(name) or 0.0) for name in ("engine_tokens_per_second", "engine_tokens"))
    if record["provenance"]["host"]["name"] != platform.node() or not speed or tokens < LEAST_TOKENS:
        return None
    copies, slots = (int(str(described["settings"].get(name) or 1)) for name in ("data_parallel", "slots"))
    return Speed(
        tokens_per_second=speed / copies,
        traces_together=max(1, min(slots, -(-rows // copies))),
        start_seconds=max(0.0, record["seconds"] - tokens / speed),
    )


def _table(value: Any) -> Mapping[str, Any]:
    return value
