"""Time and price of a fine-tuning, held against the two runs that the s1 paper times."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from s1.config.resources import Cost
from s1.config.schema import ConfigError, DecoderShape, TrainMethod
from s1.cost import does_not_fit, training_estimate, training_memory
from s1.point import PointConfig
from s1.train.flops import device_seconds, training_flops, training_tokens
from sweep.config.compose import compose
from tests.support.known import known
from tests.unit.s1.test_memory import FULL

CONF = Path(__file__).parents[3] / "conf"
SHAPE = DecoderShape(**yaml.safe_load((CONF / "model" / "qwen2_5_32b.yaml").read_text())["shape"])
COST = Cost(**yaml.safe_load((CONF / "cost" / "h100.yaml").read_text()))
RUNS = {  # examples, tokens of each, GPU-hours, fitted MFU
    "s1K": (1_000, 5_658, 16 * 26 / 60, 0.320),
    "59K": (58_986, 4_558, 394, 0.263),
}
GPUS = 16


def gpu_hours(examples: int, tokens_per_example: int, mfu: float) -> float:
    tokens = training_tokens(FULL, examples, tokens_per_example)
    flops = training_flops(SHAPE, TrainMethod.FULL, True, tokens, tokens_per_example)
    return device_seconds(flops, 989, mfu) / 3600


@pytest.mark.parametrize(("examples", "tokens", "hours", "mfu"), RUNS.values(), ids=RUNS)
def test_the_mfu_of_each_run_gives_its_gpu_hours(examples, tokens, hours, mfu):
    assert gpu_hours(examples, tokens, mfu) == pytest.approx(hours, rel=0.005)


@pytest.mark.parametrize(("examples", "tokens", "hours", "mfu"), RUNS.values(), ids=RUNS)
def test_one_mfu_lands_within_a_fifth_of_both_runs(examples, tokens, hours, mfu):
    start = GPUS * COST.seconds_per_stage / 3600
    assert gpu_hours(examples, tokens, known(COST.mfu)) + start == pytest.approx(hours, rel=0.15)


def test_the_short_run_takes_about_26_minutes_and_20_dollars():
    examples, tokens, _, _ = RUNS["s1K"]
    assert COST.tokens_per_example == tokens
    hours = gpu_hours(examples, tokens, known(COST.mfu)) + GPUS * COST.seconds_per_stage / 3600
    assert 60 * hours / GPUS == pytest.approx(26, rel=0.2)
    assert hours * COST.usd_per_device_hour == pytest.approx(20, rel=0.2)


def test_a_token_costs_six_flops_a_parameter_and_two_more_to_compute_activations_again():
    def per_parameter(method: TrainMethod, checkpointing: bool) -> float:
        return training_flops(SHAPE, method, checkpointing, 1000, 0) / 1000 / SHAPE.parameters

    assert per_parameter(TrainMethod.FULL, False) == 6
    assert per_parameter(TrainMethod.FULL, True) == 8
    assert per_parameter(TrainMethod.LORA, False) == per_parameter(TrainMethod.QLORA, False) == 4
    assert per_parameter(TrainMethod.QLORA, True) == 6


def test_attention_grows_with_the_square_of_a_row():
    def attention(row: int) -> float:
        whole = training_flops(SHAPE, TrainMethod.FULL, False, row, row)
        return whole - training_flops(SHAPE, TrainMethod.FULL, False, row, 0)

    assert attention(2000) == pytest.approx(4 * attention(1000))
    # Scores and weighted values, a multiply-add each, of half the pairs, forward once and backward twice.
    assert attention(1000) == pytest.approx(64 * 40 * 128 * 1000**2 / 2 * 2 * 2 * 3)


def test_tokens_are_those_of_whole_batches():
    assert training_tokens(FULL, 1000, 7) == 5 * 63 * 16 * 7
    assert training_tokens(replace(FULL, epochs=None, steps=63), 1000, 7) == 63 * 16 * 7


# ------------------------------------------------------------------------------------------------- in a plan

S1 = ["model=qwen2_5_32b", "train=s1", "cost=h100", "task=dial", "engine=vllm"]
NOT_PINNED = f"data.pool.hub.revision={'0' * 40}"


def point(*overrides: str) -> PointConfig:
    (composed,) = compose([*S1, *overrides]).points
    return composed


def test_a_plan_prices_the_papers_run_by_its_examples_and_devices():
    x = point("data=s1k_released", "machine=h100x16", NOT_PINNED)
    estimate = training_estimate(x)
    assert estimate.tokens == 315 * 16 * 5_658
    assert known(estimate.device_seconds) / 3600 == pytest.approx(16 * 26 / 60, rel=0.2)
    assert known(estimate.device_seconds) / 60 / x.machine.devices == pytest.approx(26, rel=0.2)
    assert estimate.usd == pytest.approx(20, rel=0.2)


def test_a_plan_prices_the_whole_pool():
    x = point("data=full_59k", "machine=h100x16", "cost.tokens_per_example=4558", NOT_PINNED)
    assert known(training_estimate(x).device_seconds) / 3600 == pytest.approx(394, rel=0.2)


def test_fewer_devices_take_longer_for_nearly_the_same_price():
    many, few = (
        training_estimate(point("data=s1k_released", f"machine={name}", NOT_PINNED)) for name in ("h100x16", "h100x8")
    )
    assert few.tokens == many.tokens
    assert known(many.device_seconds) - known(few.device_seconds) == pytest.approx(8 * COST.seconds_per_stage)


def test_rows_are_priced_up_to_block_size_only():
    x = point("data=s1k_released", "machine=h100x16", "train.block_size=2000", NOT_PINNED)
    assert training_estimate(x).tokens == 315 * 16 * 2_000


def test_a_model_of_unknown_shape_cannot_be_priced_by_flops():
    x = point("data=s1k_released", "machine=h100x16", "model=qwq_32b", "model.shape=null", NOT_PINNED)
    with pytest.raises(ConfigError, match=r"model\.shape null: training of qwq_32b is estimated by FLOPs"):
        training_estimate(x)


def test_the_laptop_is_priced_by_its_measured_rate():
    (x,) = compose(["task=dial"]).points
    estimate = training_estimate(x)
    seconds = estimate.tokens / x.cost.train_tokens_per_second + x.cost.seconds_per_stage
    assert estimate.device_seconds == pytest.approx(seconds)


def test_a_plan_says_what_training_needs_and_what_cannot_run_at_all():
    fits = point("data=s1k_released", "machine=h100x16", "train.block_size=20000", NOT_PINNED)
    assert known(training_memory(fits)).fits
    assert does_not_fit(fits) == []
    assert does_not_fit(point("data=s1k_released", "machine=h100x2", NOT_PINNED)) == [
        "machine.memory_gib 80: weights, gradients and optimiser of qwen2_5_32b alone take 244 GiB on each of 2."
        " Choose train=lora or train=qlora, or more GPUs."
    ]
    assert training_memory(point("data=none", "machine=h100x2")) is None
    unknown = point("data=s1k_released", "machine=h100x2", "model=qwq_32b", "model.shape=null", NOT_PINNED)
    assert training_memory(unknown) is None


# ------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("rates", "complaint"),
    [
        ({"train_tokens_per_second": 900}, r"cost\.train_tokens_per_second 900 and cost\.mfu 0\.3: exactly one"),
        ({"mfu": None}, r"cost\.train_tokens_per_second None and cost\.mfu None: exactly one"),
        ({"peak_tflops": None}, r"cost\.mfu 0\.3: requires cost\.peak_tflops"),
    ],
)
def test_a_rate_is_stated_in_exactly_one_way(rates, complaint):
    with pytest.raises(ConfigError, match=complaint):
        replace(COST, **rates)
