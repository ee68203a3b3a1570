"""Interpolations that are resolved once for many points, and those that may not be."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from sweep.compose import compose
from sweep.resolving import replaced, resolved_once

CONFIG = {"seed": 0, "model": {"seed": "${seed}", "size": 3}, "label": "m${model.size}", "budget": {"tokens": 8}}


@pytest.mark.parametrize(
    ("fields", "is_free"),
    [
        (["budget.tokens"], True),  # nobody reads it
        (["seed"], False),  # the model does
        (["model.size"], False),  # inside a longer text
        (["model"], False),  # the whole of which a part is read
        (["budget.tokens", "seed"], False),
    ],
)
def test_a_field_that_an_interpolation_reads_is_not_resolved_beforehand(fields: list[str], is_free: bool) -> None:
    found = resolved_once(OmegaConf.create(CONFIG), fields)
    assert (found is not None) is is_free
    if found is not None:
        assert found["model"]["seed"] == 0 and found["label"] == "m3"


@pytest.mark.parametrize("text", ["${.size}", "${oc.env:HOME}", "${${name}}"])
def test_a_name_that_is_relative_or_computed_may_read_anything(text: str) -> None:
    config = OmegaConf.create({"name": "size", "size": 1, "budget": {"tokens": 8}, "model": {"size": 2, "text": text}})
    assert resolved_once(config, ["budget.tokens"]) is None


def test_a_value_replaced_changes_nothing_else_and_not_the_original() -> None:
    plain = {"a": {"b": {"c": 1, "d": 2}}, "e": [3]}
    changed = replaced(plain, {"a.b.c": 9})
    assert changed == {"a": {"b": {"c": 9, "d": 2}}, "e": [3]}
    assert plain["a"]["b"]["c"] == 1


def test_points_of_a_grid_are_those_of_single_commands() -> None:
    axes = {"seed": (0, 1), "budget.waits": (0, 2), "task.limit": (3, "null"), "model.name": ("a", "b")}
    for fields in (["budget.waits", "task.limit"], ["seed", "budget.waits"], ["model.name", "task.limit"]):
        together = compose([*(f"{field}={','.join(map(str, axes[field]))}" for field in fields), "-m"])
        alone = [
            compose([f"{fields[0]}={first}", f"{fields[1]}={second}"]).points[0]
            for first in axes[fields[0]]
            for second in axes[fields[1]]
        ]
        assert list(together.points) == alone
