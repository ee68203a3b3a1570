"""Notes on a plan whose parts are of different sizes: budgets of the laptop model for a large one, a node for a toy."""

from __future__ import annotations

from collections.abc import Sequence

from s1.config.schema import ModelKind
from s1.point import Goal, PointConfig

LAPTOP_TRACE_TOKENS = 64  # budgets up to this are the laptop model's, whose traces have about 30 tokens
LARGEST_BUDGET_TOKENS = 16_000  # of the example, where the context allows it
TRAINING_BYTES_PER_PARAMETER = 18  # weights, gradients and optimiser in mixed precision
SMALL_SHARE = 0.01  # of one device's memory


def budget_notes(points: Sequence[PointConfig]) -> list[str]:
    """Models that are asked to think no longer than the laptop model does, a line each."""
    lines = []
    for x in {each.model.name: each for each in points}.values():
        budgets = [each.budget.max_thinking_tokens for each in points if each.model.name == x.model.name]
        finite = [each for each in budgets if each is not None]
        if x.model.kind is ModelKind.FRESH or x.goal is not Goal.CURVE or not finite:
            continue
        if max(finite) > LAPTOP_TRACE_TOKENS:
            continue
        highest = min(LARGEST_BUDGET_TOKENS, x.model.context_tokens // 2)
        lines.append(
            f"budget.max_thinking_tokens {min(finite)} to {max(finite)}: such budgets suit the laptop model, and"
            f" {x.model.name} thinks in hundreds or thousands of tokens. Give its own:"
            f" 'budget.max_thinking_tokens=geomspace({highest // 32},{highest},12)'"
        )
    return lines


def machine_notes(points: Sequence[PointConfig]) -> list[str]:
    """Machines that are far larger than the model they run, a line for each model."""
    lines = []
    for x in {each.model.name: each for each in points}.values():
        if x.model.shape is None or x.machine.memory_gib is None:
            continue
        gib = x.model.shape.parameters * TRAINING_BYTES_PER_PARAMETER / 2**30
        if gib > SMALL_SHARE * x.machine.memory_gib:
            continue
        devices = x.machine.devices
        lines.append(
            f"machine: {devices} device{'s' * (devices > 1)} of {x.machine.memory_gib:g} GiB, and {x.model.name} trains"
            f" in {gib:.2g} GiB. machine=cpu is enough; for these devices choose a larger model="
        )
    return lines
