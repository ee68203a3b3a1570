"""An amount that the prompt asks for in words: conditional control (s1/data/conditional.py; paper, section 3.2).

It lies on top of what is done to the thinking: the model is asked for 1,024 tokens, and may be forced to keep to them
("+ BF" in the paper's Tables 11 and 12) or not. These are two series, as in the paper.

    tokens   asked for at most N                              requested length: 0 to N
    steps    asked for at most N                              requested length: 0 to 100 N, the paper's proxy
    class    short before long; without words lies between    no requested length: it is relative to the default

Where the thinking is forced to a length, that is the requested one. Any other instruction is a text among others, and
tells series apart (`family` of the method that serves its budget).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from s1.config.data import Control
from s1.config.schema import ComputeRequest
from s1.data.conditional import Length, amount_of
from s1.generate.methods.forcing import NATURAL_END
from s1.generate.methods.method import Amount, Bounds, Method
from s1.generate.methods.registry import method_of
from s1.generate.trace import Policy
from s1.models.thinking_format import Ids, ThinkingFormatIds
from s1.records import ScoreRow

if TYPE_CHECKING:
    from s1.generate.audit import Audit

TOKENS_A_STEP = 100  # paper, section 3.2: the limit that a number of steps stands for
CLASS_ORDER = {Length.SHORT: 0.0, Length.LONG: 1.0}


class InstructedAmount(Method):
    """Instructed amounts; all else is that of the method beneath."""

    name = "instructed"

    def serves(self, request: ComputeRequest) -> bool:
        return request.instruction is not None and amount_of(request.instruction) is not None

    def check(self, request: ComputeRequest, context_tokens: int) -> None:
        method, plain = _beneath(request)
        method.check(plain, context_tokens)

    def family(self, request: ComputeRequest) -> Mapping[str, str | None]:
        control, _ = _asked(request)
        method, plain = _beneath(request)
        held = "left to the model" if method.bounds(plain) is None else "forced"
        return {**method.family(plain), "instruction": f"asked {control.value}", "length": held}

    def amount(self, request: ComputeRequest) -> Amount:
        _, asked = _asked(request)
        method, plain = _beneath(request)
        return (CLASS_ORDER[asked] if isinstance(asked, Length) else float(asked), *method.amount(plain))

    def label(self, request: ComputeRequest) -> str:
        method, plain = _beneath(request)
        return _joined(request, method.label(plain))

    def label_as_measured(self, request: ComputeRequest, audit: Audit) -> str:
        method, plain = _beneath(request)
        measured = method.label_as_measured(plain, audit)
        return _joined(request, measured)

    def bounds(self, request: ComputeRequest) -> Bounds | None:
        method, plain = _beneath(request)
        if (forced := method.bounds(plain)) is not None:
            return forced
        control, asked = _asked(request)
        if isinstance(asked, Length):
            return None
        return Bounds(highest=asked * (TOKENS_A_STEP if control is Control.STEPS else 1))

    def policy(self, request: ComputeRequest, ids: ThinkingFormatIds, continuation: Ids, context_tokens: int) -> Policy:
        method, plain = _beneath(request)
        return method.policy(plain, ids, continuation, context_tokens)

    def problems(self, request: ComputeRequest, scores: Sequence[ScoreRow]) -> Iterator[str]:
        method, plain = _beneath(request)
        return method.problems(plain, scores)

    def unmet(self, request: ComputeRequest, scores: Sequence[ScoreRow]) -> Iterator[str]:
        method, plain = _beneath(request)
        return method.unmet(plain, scores)

    def expected_thinking_tokens(self, request: ComputeRequest, natural_tokens: int) -> int:
        """What the model does by itself: the paper's models hardly heed the number (Table 11)."""
        method, plain = _beneath(request)
        return method.expected_thinking_tokens(plain, natural_tokens)


WRAPPER = InstructedAmount()


def _beneath(request: ComputeRequest) -> tuple[Method, ComputeRequest]:
    """What serves the request without its words, and that request."""
    plain = replace(request, instruction=None)
    return method_of(plain), plain


def _asked(request: ComputeRequest) -> tuple[Control, int | Length]:
    found = amount_of(request.instruction or "")
    assert found is not None, "only what `serves` takes comes here"
    return found


def _joined(request: ComputeRequest, beneath: str) -> str:
    """ "asked 1024 tokens, max 1024"; that nothing is forced goes without saying."""
    control, asked = _asked(request)
    words = f"asked {asked.value}" if isinstance(asked, Length) else f"asked {asked} {control.value}"
    return words if beneath == NATURAL_END else f"{words}, {beneath}"
