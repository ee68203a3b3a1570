"""Answers in shards are the answers of one worker; what does not fit together is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from s1.config.schema import Budget, ConfigError, EngineConfig, Generate
from s1.generate.engine import Engine
from s1.generate.engines import ENGINE_FILE
from s1.generate.shards import join
from s1.generate.trace_row import TRACES_FILE
from s1.generate.traces import traces, traces_shard
from s1.records import TraceRow, read_rows, write_rows
from s1.stages import TracesConfig, TracesShardConfig
from sweep.core.identity import Json
from sweep.core.stage import Shard, Summary, Work
from tests.support.words import WordTokenizer, budget
from tests.unit.s1.test_traces import WARM, Opening, answers, work

BUDGETS = {"short": budget(4), "long": budget(10), "wait": budget(waits=1)}
UNSHARED = replace(WARM, share=False)


class Model(Opening):
    """One whose vocabulary does not depend on which questions it is asked."""

    def __call__(
        self, model: Path, config: EngineConfig, settings: Mapping[str, Json]
    ) -> tuple[WordTokenizer, Callable[[], Engine]]:
        tokenizer, load = super().__call__(model, config, settings)
        tokenizer.encode("".join(f" Question {index} ?" for index in range(7)))
        return tokenizer, load


def shard_works(root: Path, index: int, count: int, generate: Generate) -> list[Work[TracesShardConfig]]:
    """What one worker is given: its shard of every budget."""
    return [
        cast(Work[TracesShardConfig], replace(whole, config=TracesShardConfig(whole.config, index, count)))
        for name, wanted in BUDGETS.items()
        for whole in [work(root, f"{name}-{index}", wanted, generate, questions=7)]
    ]


def in_shards(root: Path, count: int, generate: Generate = WARM) -> dict[str, tuple[Work[TracesConfig], Summary]]:
    """All budgets answered by so many workers, one after the other, and put together."""
    shards: dict[str, list[Shard]] = {name: [] for name in BUDGETS}
    for index in range(count):
        works = shard_works(root, index, count, generate)
        told = {each.key: each.summary for each in traces_shard(works, Model(random_words=True))}
        for name, each in zip(BUDGETS, works, strict=True):
            shards[name].append(Shard(each.out, told[each.key]))
    wholes = {name: joined(root, name, wanted, shards[name], generate) for name, wanted in BUDGETS.items()}
    summaries = {each.key: each.summary for each in join(list(wholes.values()))}
    return {name: (whole, summaries[name]) for name, whole in wholes.items()}


def joined(root: Path, name: str, wanted: Budget, shards: list[Shard], generate: Generate) -> Work[TracesConfig]:
    return replace(work(root, name, wanted, generate, questions=7), shards=tuple(shards))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("generate", [WARM, UNSHARED], ids=["shared", "from scratch"])
def test_answers_in_shards_are_those_of_one_worker(tmp_path: Path, count: int, generate: Generate) -> None:
    whole = [work(tmp_path / "whole", name, wanted, generate, questions=7) for name, wanted in BUDGETS.items()]
    alone = {each.key: each.summary for each in traces(whole, Model(random_words=True))}
    together = in_shards(tmp_path / "sharded", count, generate)
    for each in whole:
        made, summary = together[each.key]
        for file in (TRACES_FILE, ENGINE_FILE):
            assert (made.out / file).read_bytes() == (each.out / file).read_bytes()
        assert summary == {name: value for name, value in alone[each.key].items() if "per_second" not in name}


def shards_of_two(root: Path) -> list[Shard]:
    made, _ = in_shards(root, 2)["long"]
    return list(made.shards)


def put_together(root: Path, shards: list[Shard]) -> list[TraceRow]:
    made = joined(root, "again", BUDGETS["long"], shards, WARM)
    list(join([made]))
    return answers(made)


def test_a_shard_that_lacks_an_answer_is_refused(tmp_path: Path) -> None:
    shards = shards_of_two(tmp_path)
    file = shards[1].out / TRACES_FILE
    write_rows(file, read_rows(file, TraceRow)[:-1])
    with pytest.raises(ConfigError, match=r"its 8 answers do not match its 3 questions"):
        put_together(tmp_path, shards)


def test_shards_in_another_order_or_number_are_refused(tmp_path: Path) -> None:
    first, second = shards_of_two(tmp_path)
    for wrong in ([second, first], [first], [first, second, second]):
        with pytest.raises(ConfigError, match="do not match its"):
            put_together(tmp_path, wrong)


def test_shards_of_different_numerics_are_refused(tmp_path: Path) -> None:
    shards = shards_of_two(tmp_path)
    file = shards[1].out / ENGINE_FILE
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), "gpu": "A100"}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"gpu A100, but gpu None in .*Request one kind of device"):
        put_together(tmp_path, shards)


def test_a_shard_without_a_question_is_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    opening = Model()
    with pytest.raises(
        ConfigError, match=r"shard 8 of 9: has no question, because there are only 7. Set machine.shards to at most 7"
    ):
        list(traces_shard(shard_works(tmp_path, 7, 9, WARM), opening))
    assert opening.opened == []
