"""Conditional control: the prompt requests an amount of thinking (s1/data/conditional.py; paper, section 3.2).

It wraps the method that serves the budget: the prompt requests 1,024 tokens, and budget forcing may enforce them
("+ BF" in the paper's Tables 11 and 12) or not. These are two series, as in the paper.

    tokens   requests at most N                       requested length: 0 to N
    steps    requests at most N                       requested length: 0 to 100 N, the paper's proxy
    class    short sorts before long                  no requested length: it is relative to the default

If the thinking is forced to a length, that is the requested length. Any other instruction is plain text that only
distinguishes series (`family` of the method that serves the budget). Estimates ignore the instruction, because the
paper's models hardly follow it (Table 11).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from s1.config.data import Control
from s1.config.schema import ComputeRequest
from s1.data.conditional import Length, amount_of
from s1.generate.methods.forcing import NATURAL_END
from s1.generate.methods.method import Amount, Bounds, TraceMethod
from s1.generate.methods.registry import Wrapper
from s1.generate.trace import Policy
from s1.models.thinking_format import Ids, ThinkingFormatIds

if TYPE_CHECKING:
    from s1.generate.audit import Audit

TOKENS_A_STEP = 100  # paper, section 3.2: token limit for each requested step
CLASS_ORDER = {Length.SHORT: 0.0, Length.LONG: 1.0}


class InstructedAmount(Wrapper):
    """Adds the instructed amount; delegates the rest to the wrapped method."""

    name = "instructed"

    def serves(self, request: ComputeRequest) -> bool:
        return request.instruction is not None and amount_of(request.instruction) is not None

    def plain(self, request: ComputeRequest) -> ComputeRequest:
        return replace(request, instruction=None)

    def family(self, request: ComputeRequest) -> Mapping[str, str | None]:
        control, _ = _requested(request)
        method, plain = self.under(request)
        length = "left to the model" if method.bounds(plain) is None else "forced"
        return {**method.family(plain), "instruction": f"asked {control.value}", "length": length}

    def amount(self, request: ComputeRequest) -> Amount:
        _, requested = _requested(request)
        method, plain = self.under(request)
        return (CLASS_ORDER[requested] if isinstance(requested, Length) else float(requested), *method.amount(plain))

    def label(self, request: ComputeRequest) -> str:
        method, plain = self.under(request)
        return _joined(request, method.label(plain))

    def label_as_measured(self, request: ComputeRequest, audit: Audit) -> str:
        method, plain = self.under(request)
        measured = method.label_as_measured(plain, audit)
        return _joined(request, measured)

    def bounds(self, request: ComputeRequest) -> Bounds | None:
        if (forced := super().bounds(request)) is not None:
            return forced
        control, requested = _requested(request)
        if isinstance(requested, Length):
            return None
        return Bounds(highest=requested * (TOKENS_A_STEP if control is Control.STEPS else 1))

    def policy(self, request: ComputeRequest, ids: ThinkingFormatIds, continuation: Ids, context_tokens: int) -> Policy:
        method, plain = self.under(request)
        assert isinstance(method, TraceMethod), "traces of a group are made from the budget alone"
        return method.policy(plain, ids, continuation, context_tokens)


WRAPPER = InstructedAmount()


def _requested(request: ComputeRequest) -> tuple[Control, int | Length]:
    found = amount_of(request.instruction or "")
    assert found is not None, "`serves` accepted this request"
    return found


def _joined(request: ComputeRequest, wrapped_label: str) -> str:
    """Join the labels: "asked 1024 tokens, max 1024". Omits the wrapped label if nothing is forced."""
    control, requested = _requested(request)
    words = f"asked {requested.value}" if isinstance(requested, Length) else f"asked {requested} {control.value}"
    return words if wrapped_label == NATURAL_END else f"{words}, {wrapped_label}"
