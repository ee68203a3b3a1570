"""Every number and text of the schema states its range, and what lies outside is refused when it is composed."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from annotated_types import BaseMetadata

from s1.point import PointConfig
from sweep.config.compose import compose
from sweep.core.launch import Launch
from sweep.core.ranges import Anything
from sweep.core.typed import typed
from sweep.errors import InputError

LEAVES = (int, float, str)


def inner_types(hint: Any) -> Iterator[Any]:
    """A type, or what a union, a list or a mapping of types holds."""
    if get_origin(hint) in (Union, types.UnionType, list, tuple, dict, Mapping):
        for each in get_args(hint):
            yield from inner_types(each)
    elif get_origin(hint) is Annotated and get_origin(get_args(hint)[0]) is not None:
        yield from inner_types(get_args(hint)[0])
    else:
        yield hint


def leaves_of(schema: type, seen: set[type]) -> Iterator[tuple[str, Any]]:
    """Every number and text of a dataclass and of those that it holds: its place and its type."""
    if schema in seen:
        return
    seen.add(schema)
    hints = typing.get_type_hints(schema, include_extras=True)
    for field in dataclasses.fields(schema):
        for hint in inner_types(hints[field.name]):
            plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
            if isinstance(plain, type) and dataclasses.is_dataclass(plain):
                yield from leaves_of(plain, seen)
            elif plain in LEAVES:
                yield f"{schema.__name__}.{field.name}", hint


LEAVES_OF_THE_SCHEMA = sorted(leaves_of(PointConfig, set()), key=lambda each: each[0])
FLOATS = sorted({place for place, hint in LEAVES_OF_THE_SCHEMA if get_args(hint)[:1] == (float,)})


def test_the_walk_sees_the_schema() -> None:
    places = {place for place, _ in LEAVES_OF_THE_SCHEMA}
    assert {
        "Train.learning_rate",
        "JobSettings.minutes",
        "Lora.targets",
        "Endpoint.concurrency",
        "Tail.others",
    } <= places
    assert len(places) > 150


@pytest.mark.parametrize(("place", "hint"), LEAVES_OF_THE_SCHEMA, ids=[place for place, _ in LEAVES_OF_THE_SCHEMA])
def test_a_field_states_its_range_or_that_it_has_none(place: str, hint: Any) -> None:
    stated = [each for each in get_args(hint)[1:] if isinstance(each, BaseMetadata | Anything)]
    assert stated, f"{place}: any value is accepted. Give it a type of sweep/core/ranges.py."


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", FLOATS)
def test_no_float_is_nan_or_infinite(place: str, number: float) -> None:
    seen: set[type] = set()
    list(leaves_of(PointConfig, seen))
    schemas, (name, field) = {each.__name__: each for each in seen}, place.split(".")
    with pytest.raises(InputError, match=rf"^{field} {number}: not a finite number"):
        typed(schemas[name], {field: number})


def complaint_of(*overrides: str) -> str | None:
    """What composing says; None: it is a possible point."""
    try:
        compose(list(overrides))
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("train.scheduler=cosine", "train.scheduler=cosin", "not one of linear, cosine, .* Did you mean cosine?"),
        ("machine.dtype=float16", "machine.dtype=fp16", "machine.dtype 'fp16': not one of .* Did you mean float16?"),
        ("engine.dtype=bfloat16", "engine.dtype=half", "not one of float32, bfloat16, float16"),
        ("train.dtype=bfloat16", "train.dtype=float16", "not one of float32, bfloat16"),
        ("machine.device=cpu", "machine.device=tpu", "machine.device 'tpu': not one of cpu, cuda"),
        ("train.learning_rate=1e-9", "train.learning_rate=0", "train.learning_rate 0: not above 0. Raise it."),
        ("train.weight_decay=0", "train.weight_decay=-0.1", "train.weight_decay -0.1: below 0"),
        ("train.adam_beta2=0.999", "train.adam_beta2=1", "train.adam_beta2 1: not below 1. Lower it."),
        ("train.adam_beta1=0", "train.adam_beta1=-0.1", "train.adam_beta1 -0.1: below 0"),
        ("train.warmup_share=0", "train.warmup_share=1", "train.warmup_share 1: not below 1"),
        ("train.batch_size=1", "train.batch_size=0", "train.batch_size 0: below 1"),
        ("train.seed=4294967295", "train.seed=4294967296", r"train.seed 4294967296: not below 4.29497e\+09"),
        ("seed=0", "seed=-1", "seed -1: below 0"),
        ("generate.top_p=1", "generate.top_p=1.01", "generate.top_p 1.01: above 1"),
        ("generate.top_p=0.01", "generate.top_p=0", "generate.top_p 0: not above 0"),
        ("generate.temperature=0.01", "generate.temperature=0.001", "below 0.01, where engines differ"),
        ("generate.temperature=0", "generate.temperature=-1", "generate.temperature -1: below 0"),
        ("generate.samples=1", "generate.samples=0", "generate.samples 0: below 1"),
        (
            "budget.waits=384",
            "budget.waits=385",
            "budget.waits 385: each takes at least one token, but .* leaves 384 for thinking",
        ),
        ("budget.max_thinking_tokens=1", "budget.max_thinking_tokens=0", "budget.max_thinking_tokens 0: below 1"),
        ("statistics.level=0.5", "statistics.level=1", "statistics.level 1: not below 1"),
        ("cost.usd_per_device_hour=0", "cost.usd_per_device_hour=-1", "cost.usd_per_device_hour -1: below 0"),
        ("+cost.mfu=null", "+cost.mfu=0", "cost.mfu 0: not above 0"),
        ("cost.natural_answer_tokens=1", "cost.natural_answer_tokens=0", "below 1"),
        ("machine.tensor_parallel=1", "machine.tensor_parallel=0", "machine.tensor_parallel 0: below 1"),
        ("machine.gpus=0", "machine.gpus=-1", "machine.gpus -1: below 0"),
        ("launch.stall_minutes=0.5", "launch.stall_minutes=0", "launch.stall_minutes 0: not above 0"),
        ("launch.cpu.minutes=1", "launch.cpu.minutes=0", "launch.cpu.minutes 0: below 1"),
        ("launch.defaults.memory_gib=0", "launch.memory_gib=-1", "launch.defaults.memory_gib -1: below 0"),
        ("launch.sft.minutes=1", "launch.minutes.trian=1", "launch.trian: no such field"),
        ("dial.turns_max=12", "dial.turns_max=13", "dial.turns_max 13: above 12"),
        ("dial.gap_share=0", "dial.gap_share=1", "dial.gap_share 1: not below 1"),
        ("dial.slip_probability=1", "dial.slip_probability=1.5", "dial.slip_probability 1.5: above 1"),
        (
            "model.architecture.heads=4",
            "model.architecture.heads=3",
            "hidden_size 64: not a multiple of 2 x 3 heads",
        ),
        ("task.problems=1", "task.problems=0", "task.problems 0: not from 1 to"),
        ("task.problems=300", "task.problems=100000000", "task.problems 100000000: not from 1 to"),
        ("task.limit=1", "task.limit=0", "task.limit 0: below 1"),
        ("task.limit=null", "task.data_file=", "task.data_file '': empty"),
        ("track.project=mine", "track.project=", "track.project '': empty"),
        ("launch.site=null", "launch.site=' '", "launch.site ' ': empty"),
        ("data=dial_random", "+data.selection.examples=0", "data.selection.examples 0: below 1"),
        ("data.pool.rows=1", "data.pool.rows=0", "data.pool.rows 0: below 1"),
        ("store=here", "store=", "store '': empty. Write store=NAME"),
        ("results=here", "results=", "results '': empty"),
        ("train.epochs=null", "train.steps=true", "train.steps true: not a number"),
        ("budget.waits=0", "budget.waits=false", "budget.waits false: not a number"),
    ],
)
def test_the_edge_of_a_range_is_possible_and_what_lies_beyond_is_refused(
    right: str, wrong: str, complaint: str
) -> None:
    launcher = ["launch=slurm"] if right.startswith("launch.") and "stall" not in right else []
    assert complaint_of(*launcher, right) is None
    with pytest.raises(InputError, match=complaint):
        compose([*launcher, wrong])


def test_a_schedule_without_a_warm_up_takes_none() -> None:
    assert "train.scheduler constant has no warmup" in (complaint_of("train.scheduler=constant") or "")
    assert complaint_of("train.scheduler=constant", "train.warmup_share=0") is None


def test_every_scheduler_that_is_accepted_is_one_that_needs_nothing_more() -> None:
    import torch
    from transformers import get_scheduler

    from s1.config.schema import Scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    for name in get_args(Scheduler):
        get_scheduler(name, optimizer, num_warmup_steps=1, num_training_steps=10)


def test_every_precision_of_generation_is_one_of_torch() -> None:
    import torch

    from s1.config.schema import Precision

    assert all(isinstance(getattr(torch, name), torch.dtype) for name in get_args(Precision))


def test_a_launch_made_in_code_is_checked_too() -> None:
    with pytest.raises(InputError, match="throttle 0: below 1"):
        typed(Launch, {"throttle": 0})


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("paper.table=", "paper.table '': empty. Give it a value, or null."),
        ("paper.table=3", "paper.table 3: not of a type that this field takes. Correct the value."),
        (
            "+paper.rows.natural={waits:{one:1}}",
            "paper.rows.natural.waits {'one': 1}: not of a type that this field takes. Correct the value.",
        ),
    ],
)
def test_a_field_of_several_types_is_refused_once_and_by_its_own_name(override: str, complaint: str) -> None:
    with pytest.raises(InputError) as refused:
        compose(["+experiment=paper/fig1_scaling", override, "-m"])
    assert str(refused.value) == complaint
