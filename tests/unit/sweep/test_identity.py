"""Keys: equal for equal values, different for different ones, refused for values without stable identity."""

from __future__ import annotations

import dataclasses
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.core.identity import IdentityError, canonical_json, key_of
from sweep.core.stage import CodePolicy, FileInput, Stage


class Colour(Enum):
    RED = "red"


@dataclasses.dataclass(frozen=True)
class Small:
    size: int
    colour: Colour = Colour.RED
    since: int = dataclasses.field(default=0, metadata={"omit_if": 0})


@dataclasses.dataclass(frozen=True)
class SmallBeforeSince:
    size: int
    colour: Colour = Colour.RED


def test_the_canonical_form_is_pinned() -> None:
    value = {"b": [1, 2.5, None], "a": Small(3), "é": (True, "x")}
    assert canonical_json(value) == '{"a":{"colour":"red","size":3},"b":[1,2.5,null],"\\u00e9":[true,"x"]}'
    assert key_of(value) == "d7dedb3d4abb"


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none()))
def test_the_order_of_fields_does_not_matter(value: dict[str, Any]) -> None:
    assert key_of(value) == key_of(dict(reversed(value.items())))


def test_lists_and_tuples_are_the_same() -> None:
    assert key_of([1, (2, 3)]) == key_of((1, [2, 3]))


def test_a_field_added_later_keeps_old_keys_while_it_has_its_neutral_value() -> None:
    assert key_of(Small(3)) == key_of(SmallBeforeSince(3))
    assert key_of(Small(3, since=1)) != key_of(SmallBeforeSince(3))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, Path("/x"), object(), print, {1: 2}, b"x"])
def test_values_without_stable_identity_are_refused_with_a_fix(value: object) -> None:
    with pytest.raises(IdentityError, match=r"config.*: .*\. .*\."):
        key_of({"config": value})


def test_how_and_where_a_stage_runs_cannot_reach_its_key() -> None:
    plain = Stage("answers", 1, Small(3), "a.b:c", code=CodePolicy.EXPENSIVE)
    moved = Stage(
        "answers",
        1,
        Small(3),
        "x.y:z",
        settings={"device": "cuda"},
        batch="b",
        label="other",
        code=CodePolicy.EXPENSIVE,
    )
    assert plain.key == moved.key


def test_name_version_config_and_inputs_each_change_the_key() -> None:
    start = Stage("start", 1, Small(1), "a:b", code=CodePolicy.EXPENSIVE)
    stages = [
        Stage("answers", 1, Small(3), "a:b", code=CodePolicy.EXPENSIVE),
        Stage("answers", 2, Small(3), "a:b", code=CodePolicy.EXPENSIVE),
        Stage("answers", 1, Small(4), "a:b", code=CodePolicy.EXPENSIVE),
        Stage("answers", 1, Small(3), "a:b", {"model": (start,)}, code=CodePolicy.EXPENSIVE),
        Stage("scores", 1, Small(3), "a:b", code=CodePolicy.EXPENSIVE),
    ]
    assert len({stage.key for stage in stages}) == len(stages)


def test_a_file_is_known_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    here.write_text("same", encoding="utf-8")
    there.write_text("same", encoding="utf-8")
    assert FileInput.of(here).key == FileInput.of(there).key
    there.write_text("other", encoding="utf-8")
    assert FileInput.of(here).key != FileInput.of(there).key
