"""Resolving many points together gives the same points as resolving each alone."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from sweep.config.compose import compose
from sweep.config.interpolation import Resolver

CONFIG = {"seed": 0, "model": {"seed": "${seed}", "size": 3}, "label": "m${model.size}", "budget": {"tokens": 8}}


def alone(config: dict[str, object], values: dict[str, object]) -> object:
    """One point, resolved by itself."""
    made = OmegaConf.create(config)
    for field, value in values.items():
        OmegaConf.update(made, field, value, merge=True)
    return OmegaConf.to_container(made, resolve=True)


@pytest.mark.parametrize(
    "values",
    [
        [{"budget.tokens": n} for n in (8, 16, 32)],  # nobody reads it
        [{"seed": n, "budget.tokens": m} for n in (1, 2) for m in (8, 16)],  # the model reads the first
        [{"model.size": n} for n in (1, 2)],  # inside a longer text
        [{"model": {"seed": n, "size": n}} for n in (1, 2)],  # the whole of which a part is read
        [{"budget.tokens": each} for each in ("${seed}", 5, "${model.size}")],  # a value that reads others
        [{"seed": 1}, {"seed": 2}, {"seed": 1}],  # back to what was there before
    ],
)
def test_points_resolved_together_are_those_resolved_alone(values: list[dict[str, object]]) -> None:
    resolver = Resolver(OmegaConf.create(CONFIG))
    assert [resolver.resolved(each) for each in values] == [alone(CONFIG, each) for each in values]


@pytest.mark.parametrize("text", ["${.size}", "${..budget.tokens}", "${oc.env:HOME}", "${${name}}"])
def test_relative_and_computed_names_may_read_any_field(text: str) -> None:
    config = {"name": "budget.tokens", "budget": {"tokens": 8}, "model": {"size": 2, "text": text}}
    resolver = Resolver(OmegaConf.create(config))
    for tokens in (8, 16):
        assert resolver.resolved({"budget.tokens": tokens}) == alone(config, {"budget.tokens": tokens})


def test_fields_read_by_no_interpolation_are_resolved_once() -> None:
    resolver = Resolver(OmegaConf.create(CONFIG))
    first, second = (resolver.resolved({"budget.tokens": tokens}) for tokens in (8, 16))
    assert first["model"] is second["model"]
    assert first["budget"] == {"tokens": 8}  # not changed by the second


def test_points_of_a_grid_are_those_of_single_commands() -> None:
    axes = {"seed": (0, 1), "budget.waits": (0, 2), "task.limit": (3, "null"), "model.name": ("a", "b")}
    for fields in (["budget.waits", "task.limit"], ["seed", "budget.waits"], ["model.name", "task.limit"]):
        together = compose([*(f"{field}={','.join(map(str, axes[field]))}" for field in fields), "-m"])
        singly = [
            compose([f"{fields[0]}={first}", f"{fields[1]}={second}"]).points[0]
            for first in axes[fields[0]]
            for second in axes[fields[1]]
        ]
        assert list(together.points) == singly
