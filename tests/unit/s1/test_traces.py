"""The traces stage: stages of one model in one batch, each written as soon as it is complete."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from s1.config.schema import Budget, ConfigError, EngineConfig, EngineKind, Generate
from s1.generate.engine import Engine
from s1.generate.engines import installed, read_engine
from s1.generate.scripted import Script, ScriptedEngine
from s1.generate.traces import seed_of, traces
from s1.records import Ending, Question, TraceRow, read_rows, write_rows
from s1.stages import TracesConfig
from sweep.core.identity import Json
from sweep.core.stage import Finished, Work
from tests.support.words import THINKING_FORMAT, Storyteller, WordTokenizer, babbler, budget

CONTEXT = 200
STORY = " Six plus seven .\n| Six and four is ten .\n| Three more .\n|"
ENGINE = EngineConfig(EngineKind.TRANSFORMERS, "float32", "cpu", 1)
GREEDY = Generate(samples=1, temperature=0.0, top_p=1.0, seed=0, share=True)
WARM = Generate(samples=3, temperature=1.0, top_p=1.0, seed=0, share=True)


class Opening:
    """Opens a scripted engine, and keeps it to be asked about."""

    def __init__(self, random_words: bool = False) -> None:
        self.random_words = random_words
        self.opened: list[ScriptedEngine] = []

    def __call__(
        self, model: Path, config: EngineConfig, settings: Mapping[str, Json]
    ) -> tuple[WordTokenizer, Callable[[], Engine]]:
        tokenizer = WordTokenizer()
        script: Script = babbler(40, 12, stop=1) if self.random_words else Storyteller(tokenizer, STORY)
        return tokenizer, lambda: self.load(ScriptedEngine(script, len(tokenizer), CONTEXT))

    def load(self, engine: ScriptedEngine) -> Engine:
        self.opened.append(engine)
        return engine


def work(root: Path, key: str, wanted: Budget, generate: Generate = GREEDY, questions: int = 3) -> Work[TracesConfig]:
    out, scratch, shared, asked = (root / key / "out", root / key / "scratch", root / "shared", root / "questions")
    for directory in (out, scratch, shared, asked):
        directory.mkdir(parents=True, exist_ok=True)
    rows = [Question(f"q{i}", f" Question {i} ?", "13") for i in range(questions)]
    write_rows(asked / "questions.jsonl", rows)
    config = TracesConfig(wanted, THINKING_FORMAT, ENGINE, installed(ENGINE.kind), generate, CONTEXT)
    inputs = {"model": (root / "model",), "questions": (asked,)}
    return Work(key, config, inputs, out, scratch, shared, settings={}, report=lambda done, total, unit: None)


def answers(made: Work[TracesConfig]) -> list[TraceRow]:
    return read_rows(made.out / "traces.jsonl", TraceRow)


def finish(works: list[Work[TracesConfig]], opening: Opening) -> dict[str, Mapping[str, Any]]:
    return {finished.key: finished.summary for finished in traces(works, opening)}


def test_answers_are_written_in_question_order_then_sample(tmp_path: Path) -> None:
    made = work(tmp_path, "a", budget(10), WARM)
    finish([made], Opening(random_words=True))
    assert [(row.question_id, row.sample) for row in answers(made)] == [
        (f"q{i}", s) for i in range(3) for s in range(3)
    ]


def test_a_trace_row_has_texts_tokens_and_their_origin(tmp_path: Path) -> None:
    made = work(tmp_path, "a", budget(waits=1))
    finish([made], Opening())
    row = answers(made)[0]
    assert row.thinking == " Six plus seven .\nWait Six and four is ten .\n"
    assert row.answer == " 13"
    assert (row.ending, row.waits, row.thinking_tokens, row.answer_tokens) == (Ending.NATURAL, 1, 13, 1)
    assert row.sampled_tokens == 6 + 8 + 2
    assert [(each["part"], each["origin"], len(each["ids"])) for each in row.segments] == [
        ("delimiter", "forced", 3),
        ("thinking", "sampled", 5),
        ("thinking", "forced", 1),
        ("thinking", "sampled", 7),
        ("delimiter", "forced", 3),
        ("answer", "sampled", 1),
    ]
    assert row.segments[1]["ended_by"] == row.segments[3]["ended_by"] == [0]


def test_the_model_is_loaded_once_and_the_thinking_is_shared(tmp_path: Path) -> None:
    opening = Opening()
    works = [work(tmp_path, f"max {most}", budget(most)) for most in (1, 2, 3)] + [
        work(tmp_path, "wait", budget(waits=2))
    ]
    summaries = finish(works, opening)
    assert len(opening.opened) == 1
    for key, summary in summaries.items():
        assert summary["engine_tokens"] + summary["served_tokens"] == summary["sampled_tokens"], key
    assert summaries["wait"]["served_tokens"] == 0
    assert summaries["max 3"] == {
        "questions": 3,
        "samples": 1,
        "thinking_tokens": 3.0,
        "sampled_tokens": 3 * 5,
        "engine_tokens": 3 * 2,
        "served_tokens": 3 * 3,
        "prompt_tokens": summaries["max 3"]["prompt_tokens"],
        "cached_tokens": 0,
        "engine_tokens_per_second": summaries["max 3"]["engine_tokens_per_second"],
    }


@pytest.mark.parametrize("generate", [GREEDY, WARM])
def test_sharing_changes_the_cost_and_nothing_else(tmp_path: Path, generate: Generate) -> None:
    wanted = {
        "a": budget(4),
        "b": budget(9),
        "c": budget(waits=2),
        "d": budget(min_thinking_tokens=20, continuation=""),
    }
    cost = {}
    for share in (True, False):
        works = [work(tmp_path / str(share), key, each, replace(generate, share=share)) for key, each in wanted.items()]
        cost[share] = sum(summary["engine_tokens"] for summary in finish(works, Opening(random_words=True)).values())
    for key in wanted:
        ours, control = (tmp_path / share / key / "out" / "traces.jsonl" for share in ("True", "False"))
        assert ours.read_text() == control.read_text()
    assert cost[True] < cost[False]


def test_traces_do_not_depend_on_other_stages_of_the_batch(tmp_path: Path) -> None:
    together = [work(tmp_path / "x", "a", budget(4), WARM), work(tmp_path / "x", "b", budget(waits=1), WARM)]
    alone = work(tmp_path / "y", "a", budget(4), WARM)
    finish(together, Opening(random_words=True))
    finish([alone], Opening(random_words=True))
    assert answers(together[0]) == answers(alone)


def test_an_interrupted_batch_goes_on_where_it_was(tmp_path: Path) -> None:
    """The first work is complete when the process dies; what the others had generated is not generated again."""
    first, second = work(tmp_path, "a", budget(2)), work(tmp_path, "b", budget(waits=2))
    opening = Opening()
    running = cast(Generator[Finished], traces([first, second], opening))
    assert next(running).key == "a"
    running.close()
    finish([second], opening)
    whole = work(tmp_path / "fresh", "b", budget(waits=2))
    expected = Opening()
    finish([whole], expected)
    assert answers(second) == answers(whole)
    assert len(opening.opened[1].requests) < len(expected.opened[0].requests)


def test_each_work_is_finished_as_soon_as_its_last_trace_is_closed(tmp_path: Path) -> None:
    order = [
        finished.key
        for finished in traces([work(tmp_path, "long", budget(waits=2)), work(tmp_path, "short", budget(2))], Opening())
    ]
    assert order == ["short", "long"]


def test_progress_counts_traces(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    made = replace(work(tmp_path, "a", budget(4)), report=lambda *progress: told.append(progress))
    assert [type(each) for each in traces([made], Opening())] == [Finished]
    assert told == [(1, 3, "traces"), (2, 3, "traces"), (3, 3, "traces")]


def test_seeds_depend_on_seed_question_and_sample_alone() -> None:
    assert seed_of(0, "q1", 0) == 5852560098939030964
    assert len({seed_of(s, q, n) for s in (0, 1) for q in ("q1", "q2", "1") for n in (0, 1)}) == 12


def test_the_fingerprint_of_the_engine_stands_beside_its_answers_and_its_traces(tmp_path: Path) -> None:
    made = work(tmp_path, "a", budget(4))
    finish([made], Opening())
    (traces,) = (made.shared / "continuations").iterdir()
    assert read_engine(made.out) == read_engine(traces)
    assert read_engine(made.out) == {
        "engine": "transformers",
        "dtype": "float32",
        "device": "cpu",
        "tensor_parallel": 1,
        "processor": "none",
        **installed(ENGINE.kind),
    }


def test_traces_of_other_kernels_are_not_continued(tmp_path: Path) -> None:
    class Elsewhere(Opening):
        def load(self, engine: ScriptedEngine) -> Engine:
            engine.kernels = {"processor": "another"}
            return super().load(engine)

    summaries = [
        finish([replace(work(tmp_path, key, budget(4)), shared=tmp_path / "shared")], opening)[key]
        for key, opening in (("a", Opening()), ("b", Elsewhere()), ("c", Opening()))
    ]
    assert [summary["served_tokens"] for summary in summaries[:2]] == [0, 0]
    assert summaries[2]["engine_tokens"] == 0
    assert len(list((tmp_path / "shared" / "continuations").iterdir())) == 2


def test_library_versions_other_than_planned_are_refused(tmp_path: Path) -> None:
    made = work(tmp_path, "a", budget(4))
    made = replace(made, config=replace(made.config, libraries={"transformers": "4.0", "torch": "2.13.0"}))
    with pytest.raises(ConfigError, match=r"transformers 5\S+: the sweep was planned with 4\.0"):
        finish([made], Opening())


def test_stages_of_different_models_in_one_batch_are_refused(tmp_path: Path) -> None:
    one, other = work(tmp_path, "a", budget(4)), work(tmp_path, "b", budget(4))
    other = replace(other, inputs={**other.inputs, "model": (tmp_path / "another",)})
    with pytest.raises(ConfigError, match="own batch"):
        list(traces([one, other], Opening()))


def test_a_context_that_the_model_does_not_hold_is_refused(tmp_path: Path) -> None:
    made = work(tmp_path, "a", budget(4))
    made = replace(made, config=replace(made.config, context_tokens=CONTEXT + 1))
    with pytest.raises(ConfigError, match="context_tokens 201: the model supports at most 200"):
        list(traces([made], Opening()))


def test_no_questions_are_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    opening = Opening()
    with pytest.raises(ConfigError, match="no questions"):
        list(traces([work(tmp_path, "a", budget(4), questions=0)], opening))
    assert not opening.opened


def test_works_of_several_contexts_are_answered_by_an_engine_that_holds_the_longest(tmp_path: Path) -> None:
    asked: list[Mapping[str, Json]] = []

    class Noting(Opening):
        def __call__(self, model: Path, config: EngineConfig, settings: Mapping[str, Json]) -> object:
            asked.append(settings)
            return super().__call__(model, config, settings)

    long, short = work(tmp_path, "a", budget(4)), work(tmp_path, "b", budget(4))
    short = replace(short, config=replace(short.config, context_tokens=100))
    finish([short, long], Noting())
    assert [settings["context_tokens"] for settings in asked] == [CONTEXT]


def test_what_was_read_from_the_continuation_store_is_noted(tmp_path: Path) -> None:
    first, again = (replace(work(tmp_path / key, key, budget(4)), shared=tmp_path / "shared") for key in "ab")
    assert "continuation_tokens_reused" not in finish([first], Opening())["a"]
    (folder,) = (tmp_path / "shared" / "continuations").iterdir()
    (file,) = folder.glob("*.jsonl")
    file.write_bytes(file.read_bytes() + b"00000000 {}\n")
    summary = finish([again], Opening())["b"]
    assert [row.segments for row in answers(again)] == [row.segments for row in answers(first)]
    assert summary["continuation_tokens_reused"] == summary["served_tokens"] == summary["sampled_tokens"]
    assert summary["continuation_lines_rejected"] == 1
    assert len(str(summary["continuation_digest"])) == 12


def test_traces_of_a_model_of_other_bytes_are_not_continued(tmp_path: Path) -> None:
    """A model that was damaged and made again on another machine: its key is the same, its digest is not."""

    def made(key: str, digest: str) -> Work[TracesConfig]:
        return replace(work(tmp_path, key, budget(4)), shared=tmp_path / "shared", digests={"model": (digest,)})

    summaries = [finish([made(key, digest)], Opening())[key] for key, digest in (("a", "0a"), ("b", "0b"), ("c", "0a"))]
    assert [summary["engine_tokens"] > 0 for summary in summaries] == [True, True, False]
