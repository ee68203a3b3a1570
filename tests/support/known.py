"""Unwrap an optional value of which the test knows that it is there."""

from __future__ import annotations

from typing import TypeVar

Value = TypeVar("Value")


def known(value: Value | None) -> Value:
    """Fails the test for None."""
    assert value is not None
    return value
