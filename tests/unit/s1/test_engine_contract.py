"""What every engine must do, tested by one suite: the scripted engine, transformers, vLLM, and replicas.

The models differ, and so do their tokens, so the tests compare outputs of the same engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from s1.config.schema import ConfigError, EngineConfig, EngineKind
from s1.generate.continuations import Continuations
from s1.generate.engine import DELTA_TOKENS, Engine, EngineError, GenerationRequest, Sampling
from s1.generate.engines import device_groups, installed, load_one, open_engine
from s1.generate.replicas import Replicas
from s1.generate.rollout import Rollout, TraceJob
from s1.generate.scripted import ScriptedEngine
from s1.generate.trace import Close, Move, Part, Sample, Trace
from s1.models.location import Location
from s1.records import Ending
from tests.support.engines import CONTEXT_TOKENS, SETTINGS, VOCABULARY, deltas_of, finish, requests, save_tiny_llama
from tests.support.known import known
from tests.support.requirements import need
from tests.support.words import babbler

WARM = Sampling(1.0)


def scripted() -> ScriptedEngine:
    """A module-level function, so that a replica process can import it."""
    return ScriptedEngine(babbler(VOCABULARY, end_every=1000, stop=1), VOCABULARY, CONTEXT_TOKENS)


ENGINES = [
    *("scripted", "transformers"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("replicas", "transformers x2")),
    *(pytest.param(name, marks=pytest.mark.vllm) for name in ("vllm", "vllm x2")),
]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    opened = opened_engine(request.param, tmp_path_factory)
    yield opened
    opened.close()


def opened_engine(name: str, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    if name == "scripted":
        return scripted()
    if name == "replicas":
        return Replicas(scripted, ["", "", ""])
    kind = EngineKind(name.split()[0])
    if kind is EngineKind.VLLM:
        need(installed(kind)["vllm"], "vLLM is not installed in this environment", "make test-vllm")
    location = Location(str(save_tiny_llama(tmp_path_factory.mktemp("model"))), None)
    copies = 2 if name.endswith("x2") else 1
    return open_engine(location, EngineConfig(kind, "float32", "cpu", 1), {**SETTINGS, "data_parallel": copies})


def free(tokens: int = 24, **fields: object) -> GenerationRequest:
    """A request that nothing but max_tokens ends."""
    return replace(requests(1, seed=7)[0], max_tokens=tokens, **fields)


def written(engine: Engine, request: GenerationRequest) -> tuple[int, ...]:
    (done,) = finish(engine, [request])
    return tuple(done.ids)


def rare_place(ids: tuple[int, ...]) -> int:
    """An index above 3 at which this id and this pair of ids occur for the first time, so that they can be a stop."""
    pairs = list(pairwise(ids))
    return next(i for i, pair in enumerate(pairs) if i > 3 and pairs.index(pair) == i and pair[0] not in ids[:i])


def test_without_a_stop_a_request_gets_all_its_tokens(engine: Engine) -> None:
    (done,) = finish(engine, [free(24)])
    assert len(done.ids) == 24 and done.ended_by is None


def test_greedy_tokens_do_not_depend_on_order_or_other_requests(engine: Engine) -> None:
    wanted = requests(20)
    one = finish(engine, wanted, per_step=2)
    assert finish(engine, wanted[::-1])[::-1] == one
    assert [finish(engine, [each])[0] for each in wanted] == one


def test_equal_requests_may_be_open_at_the_same_time(engine: Engine) -> None:
    one, other = free(), free()
    assert one == other and one is not other
    first, second = finish(engine, [one, other])
    assert first == second


def test_a_text_can_be_continued_from_any_prefix(engine: Engine) -> None:
    whole = written(engine, free(24))
    parts = [free(24 - cut, prompt_ids=(*free().prompt_ids, *whole[:cut])) for cut in range(1, 24)]
    assert [done.ids for done in finish(engine, parts)] == [whole[cut:] for cut in range(1, 24)]


def test_a_stop_ends_a_request_and_is_reported_apart_from_the_text(engine: Engine) -> None:
    ids = written(engine, free())
    place = rare_place(ids)
    stop = (ids[place],)
    (deltas,) = deltas_of(engine, [free(stop_ids=((VOCABULARY - 1,) * 9, stop))])
    (done,) = finish(engine, [free(stop_ids=((VOCABULARY - 1,) * 9, stop))])
    assert (done.ids, done.ended_by) == (ids[:place], stop)
    assert sum(len(delta.ids) for delta in deltas) == place + 1  # paid for


def test_a_stop_of_several_ids_ends_a_request_at_its_last(engine: Engine) -> None:
    ids = written(engine, free())
    place = rare_place(ids)
    (done,) = finish(engine, [free(stop_ids=(ids[place : place + 3], (VOCABULARY - 1,) * 9))])
    assert (done.ids, done.ended_by) == (ids[:place], ids[place : place + 3])


def test_the_last_id_of_a_stop_alone_ends_nothing(engine: Engine) -> None:
    ids = written(engine, free())
    others = [token for token in range(VOCABULARY) if token not in ids]
    misses = tuple((others[0], token) for token in dict.fromkeys(ids))  # each token of the text ends one of them
    assert finish(engine, [free(stop_ids=misses)])[0].ids == ids


def test_the_longest_of_two_stops_that_end_together_is_reported(engine: Engine) -> None:
    ids = written(engine, free())
    place = rare_place(ids)
    stops = ((ids[place + 1],), ids[place : place + 2])
    (done,) = finish(engine, [free(stop_ids=stops)])
    if ids[place + 1] not in ids[: place + 1]:
        assert (done.ids, done.ended_by) == (ids[:place], ids[place : place + 2])
    else:
        assert done.ended_by == (ids[place + 1],)


def test_a_stop_that_began_before_the_request_ends_it(engine: Engine) -> None:
    ids = written(engine, free())
    place = rare_place(ids)
    stop = ids[place : place + 3]
    begun = (*free().prompt_ids, *ids[: place + 2])
    (done,) = finish(engine, [free(10, prompt_ids=begun, stop_ids=(stop,), already_sampled=place + 2)])
    assert (done.ids, done.ended_by) == ((), stop)
    (other,) = finish(engine, [free(5, prompt_ids=begun, stop_ids=(stop,))])  # here the prompt is given, not sampled
    assert (other.ids, other.ended_by) == (ids[place + 2 : place + 7], None)


def test_max_tokens_may_end_a_request_within_a_stop(engine: Engine) -> None:
    ids = written(engine, free())
    place = rare_place(ids)
    (done,) = finish(engine, [free(place + 2, stop_ids=(ids[place : place + 3],))])
    assert (done.ids, done.ended_by) == (ids[: place + 2], None)


@pytest.mark.parametrize("stop_tokens", [1, 2])
def test_a_forbidden_stop_is_not_sampled_first_but_may_come_later(engine: Engine, stop_tokens: int) -> None:
    ids = written(engine, free())
    stop = ids[:stop_tokens]
    now, forbidden = finish(engine, [free(stop_ids=(stop,)), free(stop_ids=(stop,), forbid_stop_first=True)])
    assert (now.ids, now.ended_by) == ((), stop)
    assert forbidden.ids and forbidden.ids[0] != ids[0]
    goes_on = free(23, prompt_ids=(*free().prompt_ids, forbidden.ids[0]), stop_ids=(stop,), already_sampled=1)
    (later,) = finish(engine, [goes_on])
    assert (forbidden.ids[1:], forbidden.ended_by) == (later.ids, later.ended_by)


def test_an_open_request_emits_deltas_until_it_ends(engine: Engine) -> None:
    (deltas,) = deltas_of(engine, [free(100)])
    assert [delta.end is None for delta in deltas] == [True] * (len(deltas) - 1) + [False]
    assert max(len(delta.ids) for delta in deltas) < 2 * DELTA_TOKENS
    assert sum(len(delta.ids) for delta in deltas) == 100


def test_sampled_tokens_depend_on_the_seed_and_not_on_other_requests(engine: Engine) -> None:
    wanted = [free(20, sampling=WARM, seed=seed) for seed in range(12)]
    one = finish(engine, wanted)
    assert len({done.ids for done in one}) == 12
    assert finish(engine, wanted[::-1], per_step=1)[::-1] == one


def test_a_stream_in_pieces_is_reproducible_and_equals_the_whole_if_positions_are_seeded(engine: Engine) -> None:
    whole = written(engine, free(30, sampling=WARM, seed=5))

    def in_pieces() -> tuple[int, ...]:
        ids: tuple[int, ...] = ()
        for tokens in (1, 2, 11, 16):
            prompt = (*free().prompt_ids, *ids)
            ids += written(engine, free(tokens, prompt_ids=prompt, sampling=WARM, seed=5, already_sampled=len(ids)))
        return ids

    assert in_pieces() == in_pieces()
    assert (in_pieces() == whole) is engine.seeds_positions


def test_cached_prompt_tokens_are_reported(engine: Engine) -> None:
    """Never the whole prompt: its last token is read to go on from."""
    prompt = tuple(i % VOCABULARY for i in range(100))
    text = prompt + written(engine, free(60, prompt_ids=prompt))
    (deltas,) = deltas_of(engine, [free(4, prompt_ids=text)])
    cached = known(deltas[-1].end).cached_tokens
    assert cached == 0 if engine.kernels["processor"] == "none" else 100 < cached < 160


def test_an_idle_engine_does_not_wait(engine: Engine) -> None:
    assert engine.is_idle and engine.step() == []


def test_a_rollout_terminates(engine: Engine, tmp_path: Path) -> None:
    """Also if the store holds everything, so that the engine gets no request."""
    for _ in range(2):
        with Continuations(tmp_path) as store:
            jobs = [TraceJob(i, "", Thinking(9 + i), Trace((3, 4)), Sampling(0.0), 0, store) for i in range(6)]
            closed = {job.name: close.trace.thinking_tokens for job, close in Rollout(engine).run(jobs)}
        assert closed == {i: 9 + i for i in range(6)}


class Thinking:
    """Policy that thinks for exactly `tokens` tokens."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def next(self, trace: Trace) -> Move:
        return Close(trace, Ending.FORCED) if trace.segments else Sample(self.tokens, (), Part.THINKING)


def test_an_engine_is_idle_before_and_after_a_request(engine: Engine) -> None:
    assert engine.is_idle
    engine.add(free(3))
    assert not engine.is_idle
    while not engine.is_idle:
        engine.step()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt_ids": ()}, "empty"),
        ({"prompt_ids": (3, VOCABULARY)}, f"{VOCABULARY}: outside the vocabulary of {VOCABULARY}"),
        ({"prompt_ids": (3, -1)}, f"-1: outside the vocabulary of {VOCABULARY}"),
        ({"prompt_ids": (3,) * 500, "max_tokens": 13}, "13: with 500 prompt tokens it exceeds the context of 512"),
        ({"max_tokens": 0}, "max_tokens 0"),
        ({"stop_ids": ((3,), ())}, "an empty stop sequence"),
    ],
)
def test_unservable_requests_are_refused_by_add(engine: Engine, fields: dict[str, object], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        engine.add(replace(free(), **fields))
    assert engine.is_idle


@pytest.mark.slow
def test_more_requests_than_a_pipe_holds_do_not_block() -> None:
    """Requests go down while deltas come up: neither side may wait for the other to read."""
    replicas = Replicas(scripted, ["", ""])
    wanted = [free(40, prompt_ids=(5,) * 400, seed=seed) for seed in range(1500)]
    assert len({done.ids for done in finish(replicas, wanted)}) == 1
    replicas.close()


def unlike() -> ScriptedEngine:
    engine = scripted()
    engine.kernels = {"processor": f"number {os.getpid()}"}
    return engine


@pytest.mark.slow
def test_replicas_with_different_kernels_are_refused() -> None:
    with pytest.raises(EngineError, match="not the same"):
        Replicas(unlike, ["", ""])


def test_devices_are_divided_among_replicas_and_too_few_are_refused() -> None:
    assert device_groups(None, 2, 2) == ["0,1", "2,3"]
    assert device_groups("4, 5,6,7", 2, 2) == ["4,5", "6,7"]
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES '0,1': tensor_parallel 2 x data_parallel 4 need 8"):
        device_groups("0,1", 4, 2)


@pytest.mark.slow
def test_an_error_in_one_replica_is_raised_and_stops_the_others() -> None:
    no_model = Location("/no/such/model", None)
    config = EngineConfig(EngineKind.TRANSFORMERS, "float32", "cpu", 1)
    with pytest.raises(EngineError, match=r"replica 0: .*no/such/model"):
        Replicas(partial(load_one, no_model, config, SETTINGS), ["", ""])
