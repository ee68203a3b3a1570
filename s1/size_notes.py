"""Notes on plans whose sizes do not match: laptop budgets for a large model, a GPU node for a toy model."""

from __future__ import annotations

from collections.abc import Sequence

from s1.config.schema import ModelKind
from s1.point import Goal, PointConfig

LAPTOP_TRACE_TOKENS = 64  # the laptop model's traces have about 30 tokens, so budgets up to this suit only it
LARGEST_BUDGET_TOKENS = 16_000  # in the suggested command; a shorter context lowers it
TRAINING_BYTES_PER_PARAMETER = 18  # weights, gradients and optimiser in mixed precision
SMALL_SHARE = 0.01  # of one device's memory


def budget_notes(points: Sequence[PointConfig]) -> list[str]:
    """Large models with budgets that suit only the laptop model, one line each."""
    lines = []
    for point in {each.model.name: each for each in points}.values():
        budgets = [each.budget.max_thinking_tokens for each in points if each.model.name == point.model.name]
        finite = [each for each in budgets if each is not None]
        if point.model.kind is ModelKind.FRESH or point.goal is not Goal.CURVE or not finite:
            continue
        if max(finite) > LAPTOP_TRACE_TOKENS:
            continue
        highest = min(LARGEST_BUDGET_TOKENS, point.model.context_tokens // 2)
        lines.append(
            f"budget.max_thinking_tokens {min(finite)} to {max(finite)}: such budgets suit the laptop model, but"
            f" {point.model.name} thinks in hundreds or thousands of tokens. Give larger budgets:"
            f" 'budget.max_thinking_tokens=geomspace({highest // 32},{highest},12)'"
        )
    return lines


def machine_notes(points: Sequence[PointConfig]) -> list[str]:
    """Models that are far too small for their machine, one line each."""
    lines = []
    for point in {each.model.name: each for each in points}.values():
        if point.model.shape is None or point.machine.memory_gib is None:
            continue
        gib = point.model.shape.parameters * TRAINING_BYTES_PER_PARAMETER / 2**30
        if gib > SMALL_SHARE * point.machine.memory_gib:
            continue
        devices = point.machine.devices
        lines.append(
            f"machine: {devices} device{'s' * (devices > 1)} of {point.machine.memory_gib:g} GiB, but"
            f" {point.model.name} trains"
            f" in {gib:.2g} GiB. Choose machine=cpu, or a larger model for these devices."
        )
    return lines
