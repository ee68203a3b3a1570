"""The estimate of generation: lengths, speed, memory, and what is unknown."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from s1 import cost
from s1.config.schema import DecoderShape
from s1.cost import cannot_generate
from s1.estimates import estimates_of, generation_notes
from s1.evaluate.questions import drawn
from s1.generation_memory import generation_memory
from s1.lengths import Lengths, TraceLength, of_measured, of_published, spread, t_quantile
from s1.parallelism import Occupancy, idle_copies, speed_at
from s1.pipeline import stages_of
from s1.point import PointConfig
from s1.probe import probe_points
from s1.stages import ProbeConfig, QuestionsConfig
from s1.train.memory import GIB
from sweep.config.compose import compose
from tests.support.known import known

ON_H100 = ["engine=vllm", "data=none", "task=aime24"]


def point(*overrides: str) -> PointConfig:
    (composed,) = compose(list(overrides)).points
    return composed


def test_the_rates_of_the_laptop_say_nothing_about_another_model():
    x = point("model=qwen3_8b", "data=none", "task=aime24")
    stages = stages_of(x)
    estimate = estimates_of([x], [stages])[stages.evaluation.traces.address]
    assert (estimate.tokens, estimate.device_seconds, estimate.usd, estimate.wall_seconds) == (None,) * 4


def test_six_waits_are_not_charged_beyond_the_context():
    x = point("model=s1_32b", *ON_H100, "machine=h100x2", "budget.max_thinking_tokens=null", "budget.waits=6")
    assert 7 * x.cost.natural_thinking_tokens > x.model.context_tokens
    tokens = of_published(x.request, x.cost.natural_thinking_tokens, x.model.context_tokens)
    assert tokens == x.model.context_tokens


def test_a_measured_length_is_cut_at_the_budget_question_by_question():
    """The mean of the cut lengths, (10 + 100) / 2, is not the cut mean length, 100."""
    lengths = Lengths(([TraceLength(10, 10, 3)], [TraceLength(300, 300, 3)]), waits=0, budget_tokens=None)
    x = point("budget.max_thinking_tokens=100")
    assert [each.thinking for each in of_measured(x.request, lengths, 512)] == [10, 100]


def test_every_budget_stores_its_thinking_also_where_it_is_sampled_once():
    budgets = [
        point(*ON_H100, "model=s1_32b", "machine=h100x2", f"budget.max_thinking_tokens={most}") for most in (4000, 4001)
    ]
    planned = [stages_of(each) for each in budgets]
    found = estimates_of(budgets, planned)
    first, second = (found[each.evaluation.traces.address] for each in planned)
    assert known(second.tokens) < 0.3 * known(first.tokens)
    assert known(second.disk_bytes) > 0.6 * known(first.disk_bytes)


def test_a_worker_starts_once_for_all_its_points_and_each_shard_has_its_own():
    at_once = [point(*ON_H100, "model=s1_32b", "machine=h100x2", f"budget.max_thinking_tokens={n}") for n in (9, 10)]
    planned = [stages_of(each) for each in at_once]
    found = estimates_of(at_once, planned)
    first, second = (known(found[each.evaluation.traces.address].wall_seconds) for each in planned)
    assert first > at_once[0].cost.seconds_per_stage > second
    sharded = [replace(each, machine=replace(each.machine, shards=2)) for each in at_once]
    planned = [stages_of(each) for each in sharded]
    found = estimates_of(sharded, planned)
    seconds = [known(found[shard.address].wall_seconds) for each in planned for shard in each.evaluation.traces.shards]
    assert sorted(each > 120 for each in seconds) == [False, False, True, True]


def test_no_more_traces_decode_together_than_the_memory_holds():
    speeds = []
    for machine in ("h100x2", "h100"):
        x = point(*ON_H100, "model=s1_32b", f"machine={machine}")
        stages = stages_of(x)
        estimate = estimates_of([x], [stages])[stages.evaluation.traces.address]
        speeds.append(known(estimate.tokens) / (known(estimate.wall_seconds) - x.cost.seconds_per_stage))
    assert speeds[1] < 0.7 * speeds[0]


def test_settings_of_the_engine_change_the_room_for_traces():
    plain, share, fp8 = (
        known(cost.memory_of_generation(point("model=s1_32b", *ON_H100, "machine=h100x2", *more)))
        for more in ([], ["machine.gpu_memory_utilization=0.5"], ["engine.kv_cache_dtype=fp8_e4m3"])
    )
    assert known(share.cache_gib) == pytest.approx(known(plain.cache_gib) - 0.4 * 80)
    assert known(fp8.traces_at_once(1000)) == pytest.approx(2 * known(plain.traces_at_once(1000)), abs=1)


def test_lengths_reach_no_wait_and_no_budget_beyond_those_measured():
    lengths = Lengths(([TraceLength(10, 40, 3)],), waits=2, budget_tokens=64)
    assert lengths.reaches(point("budget.max_thinking_tokens=64", "budget.waits=2").request)
    assert not lengths.reaches(point("budget.max_thinking_tokens=65").request)
    assert not lengths.reaches(point("budget.max_thinking_tokens=null").request)
    assert not lengths.reaches(point("budget.max_thinking_tokens=64", "budget.waits=3").request)
    one_wait = point("budget.max_thinking_tokens=64", "budget.waits=1").request
    assert [each.thinking for each in of_measured(one_wait, lengths, 512)] == [25]


def test_an_interval_ends_where_every_question_was_measured():
    assert spread([1.0, 3.0], 2, is_finite=True, most=99).high == 1.0
    whole = spread([1.0, 3.0], 10**9, is_finite=False, most=99)
    part = spread([1.0, 3.0], 4, is_finite=True, most=99)
    assert whole.high == pytest.approx(1 + 12.71 * 1 / 2)
    assert part.high - 1 == pytest.approx((whole.high - 1) * math.sqrt(0.5))
    fewer = spread([1.0, 3.0] * 50, 10, is_finite=True, most=99)  # other questions than all those measured
    assert fewer.high - 1 == pytest.approx(t_quantile(99) / 2 * math.sqrt(100 / 99 * (1 / 10 - 1 / 100)))
    assert (spread([5.0], 10, is_finite=True, most=20).low, spread([5.0], 10, is_finite=True, most=20).high) == (0, 4)
    assert spread([1.0, 3.0], 10**9, is_finite=False, most=3).high == 1.5


def test_the_quantile_between_two_rows_is_the_larger_one():
    assert t_quantile(19) == t_quantile(23) == 2.093
    assert t_quantile(10**6) == 1.96


def test_a_copy_with_few_traces_is_slower_by_at_most_their_share():
    assert speed_at(1000, 32, 4) == speed_at(1000, 32, 4).__class__(125, 1000)
    assert (speed_at(1000, 32, 64).low, speed_at(1000, 32, 64).high) == (1000, 2000)
    assert speed_at(1000, 32, 32).middle == pytest.approx(1000)


def test_thirty_questions_over_eight_copies_call_for_tensor_parallelism():
    line = known(idle_copies(Occupancy(traces=30, copies=8, slots=256, tensor_parallel=1), kv_heads=8))
    assert "30 traces over 8 copies leave each with 4 of 256 slots" in line
    assert "machine.tensor_parallel=8 machine.data_parallel=1" in line
    assert idle_copies(Occupancy(traces=500, copies=8, slots=256, tensor_parallel=1), kv_heads=8) is None
    assert idle_copies(Occupancy(traces=30, copies=1, slots=256, tensor_parallel=8), kv_heads=8) is None
    assert "tensor_parallel=4" in known(idle_copies(Occupancy(30, 4, 256, 2), kv_heads=4))


def test_the_cache_of_one_token_has_keys_and_values_of_every_layer():
    x = point("model=s1_32b", *ON_H100, "machine=h100x2")
    shape: DecoderShape = known(x.model.shape)
    need = known(generation_memory(shape, x.engine, x.machine))
    assert need.cache_bytes_per_token * x.machine.tensor_parallel == 2 * 64 * 8 * 128 * 2
    assert need.weights_gib == pytest.approx(2 * shape.parameters / x.machine.tensor_parallel / GIB)
    room = 0.9 * 80 - need.weights_gib
    assert need.traces_at_once(32768) == int(room * GIB / (need.cache_bytes_per_token * 32768))
    (note,) = [each for each in generation_notes([x]) if each.startswith("memory")]
    assert "KV cache 128 KiB per token: room for" in note


def test_weights_that_no_device_holds_are_refused_and_others_are_not():
    """32B in float32 takes 122 GiB: not on one H100, nor on one of two."""
    too_large = point("model=s1_32b", *ON_H100, "machine=h100", "engine.dtype=float32")
    (line,) = cannot_generate(too_large)
    assert line == (
        "machine.memory_gib 80: the weights of s1_32b in float32 alone take 122.1 GiB on each of 1, where 72 may be"
        " used. Raise machine.tensor_parallel, or choose a smaller engine.dtype."
    )
    reserved = point("model=s1_32b", *ON_H100, "machine=h100x2", "machine.cache_gib=60")
    assert cannot_generate(reserved) == [
        "machine.cache_gib 60: the weights of s1_32b in bfloat16 take 30.5 GiB of 80 on each of 2. Lower it, or raise"
        " machine.tensor_parallel."
    ]
    assert cannot_generate(point("model=s1_32b", *ON_H100, "machine=h100x8")) == []


def test_a_paid_teacher_is_not_priced_by_the_examples_of_the_laptop():
    x = point("data=dial_1k", "+teacher@data.teacher=openrouter")
    found = {each.partition("/")[0]: estimate for each, estimate in estimates_of([x], [stages_of(x)]).items()}
    assert found["distilled"].usd is None and found["distilled"].tokens is None


def test_the_recipe_of_the_paper_is_held_against_its_longest_row():
    from s1.cost import training_memory

    revision = f"data.pool.hub.revision={'0' * 40}"
    x = point("model=qwen2_5_32b", "train=s1", "data=s1k_released", "machine=h100x16", "task=dial", revision)
    need = known(training_memory(x))
    assert (need.row_tokens, need.fits) == (9109, True)


def test_a_probe_answers_a_few_questions_at_the_largest_point_of_each_task():
    composed = compose(["+experiment=s1_scan", "model=qwen3_8b", "task=aime24,math500", "-m"]).points
    probed = probe_points(composed, ProbeConfig(questions=20, draw_seed=7))
    assert [each.task.name for each in probed] == ["aime24", "math500"]
    assert {(each.budget.max_thinking_tokens, each.budget.waits) for each in probed} == {(None, 6)}
    assert {(each.task.limit, each.task.draw_seed, each.machine.shards) for each in probed} == {(20, 7, 1)}
    whole = {stages_of(each).evaluation.traces.batch for each in composed}
    assert {stages_of(each).evaluation.traces.batch for each in probed} == whole, "they share a continuation store"


def test_a_probe_has_the_most_waits_within_the_largest_budget_and_so_reaches_every_point():
    also = "also=['budget.max_thinking_tokens=50 budget.waits=2']"
    composed = compose(["+experiment=smoke", "budget.max_thinking_tokens=10,100", also, "-m"]).points
    (probed,) = probe_points(composed, ProbeConfig(questions=4, draw_seed=0))
    assert (probed.budget.max_thinking_tokens, probed.budget.waits) == (100, 2)
    lengths = Lengths(([TraceLength(10, 40, 3)],), 2, 100, probed.budget.answer_tokens)
    assert all(lengths.reaches(each.request) for each in composed)


def test_questions_are_drawn_by_their_seed_and_keep_their_order():
    config = QuestionsConfig("dial", None, 5, draw_seed=3)
    chosen = drawn(range(100), config)
    assert len(chosen) == 5 and list(chosen) == sorted(chosen) and chosen != list(range(5))
    assert drawn(range(100), config) == chosen != drawn(range(100), replace(config, draw_seed=4))
    assert drawn(range(4), config) == range(4)
