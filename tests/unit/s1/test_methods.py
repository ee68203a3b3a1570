"""Methods of spending test-time compute: what each says of a request, and that adding one is adding a file."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from s1.config.data import Control
from s1.config.schema import Budget, Compat, ComputeRequest, ConfigError, Forcing
from s1.data.conditional import Length, instruction
from s1.generate import methods as package
from s1.generate.methods.forcing import BudgetForcing, answer_reserve
from s1.generate.methods.method import Amount, Bounds, TraceMethod
from s1.generate.methods.registry import method_of, methods, wrappers
from s1.models.thinking_format import thinking_format_ids
from s1.stages import TracesConfig
from sweep.config.compose import compose
from sweep.core.identity import key_of
from sweep.errors import InputError
from tests.support.words import THINKING_FORMAT, WordTokenizer, budget

NO_FORCING = Budget(Forcing.NONE, None, 0, 0, "", None)
SHORT, LONG = (instruction(Control.CLASS, length) for length in Length)


def request(most: int | None = None, words: str | None = None, **fields: object) -> ComputeRequest:
    return ComputeRequest(budget(most, **{"answer_tokens": None, **fields}), words)


def family(asked: ComputeRequest) -> dict[str, str | None]:
    return dict(method_of(asked).family(asked))


def amount(asked: ComputeRequest) -> Amount:
    return method_of(asked).amount(asked)


def label(asked: ComputeRequest) -> str:
    return method_of(asked).label(asked)


def bounds(asked: ComputeRequest) -> Bounds | None:
    return method_of(asked).bounds(asked)


def agree(one: ComputeRequest, other: ComputeRequest) -> bool:
    """Of one series: all that matters for both is the same."""
    first, second = family(one), family(other)
    both = first.keys() & second.keys()
    return first.keys() == second.keys() and all(None in (first[k], second[k]) or first[k] == second[k] for k in both)


def in_order(requests: list[ComputeRequest]) -> bool:
    """By their amounts they come as they are given."""
    shuffled = [*requests[1::2], *requests[::2]]
    return sorted(shuffled, key=amount) == requests


def test_every_method_is_found_and_named_after_its_module() -> None:
    found = [*methods(), *wrappers()]
    modules = {path.stem for path in Path(package.__file__ or "").parent.glob("*.py")}
    assert {method.name for method in found} == modules - {"__init__", "method", "registry"}
    assert [method.name for method in found] == [type(method).__module__.rpartition(".")[2] for method in found]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (request(8), "forcing"),
        (request(waits=2), "forcing"),
        (request(8, compat=Compat.S1), "s1_original"),
        (ComputeRequest(NO_FORCING), "none"),
        (ComputeRequest(replace(NO_FORCING, compat=Compat.S1)), "none"),
        (request(8, "Think for up to 64 tokens."), "instructed"),
        (ComputeRequest(NO_FORCING, SHORT), "instructed"),
        (request(8, "Think step by step."), "forcing"),
    ],
)
def test_one_method_serves_a_request(asked: ComputeRequest, name: str) -> None:
    assert method_of(asked).name == name


# --- families and amounts


def test_budgets_the_natural_end_and_waits_are_one_family_in_the_order_of_thinking() -> None:
    asked = [request(8), request(16), request(), request(min_thinking_tokens=64), request(waits=1), request(waits=2)]
    assert all(agree(one, other) for one in asked for other in asked)
    assert in_order(asked)
    assert amount(request()) == (0, 0, math.inf)


def test_another_string_matters_only_where_it_is_appended() -> None:
    assert agree(request(8, continuation="Hmm"), request(16, continuation="Wait"))
    assert agree(request(8), request(waits=1, continuation="Hmm"))
    assert agree(request(8), request(waits=1, continuation="Wait"))
    assert not agree(request(waits=1, continuation="Hmm"), request(waits=1, continuation="Wait"))
    assert not agree(request(waits=1, continuation=""), request(min_thinking_tokens=9, continuation="Wait"))


@pytest.mark.parametrize(
    "other",
    [
        request(16, compat=Compat.S1),
        ComputeRequest(NO_FORCING),
        request(16, "Think step by step."),
        request(16, "Think for up to 64 tokens."),
        request(16, answer_tokens=64),
        request(16, answer_reserve=64),
    ],
    ids=["rules", "no forcing", "a text", "an amount in words", "an answer's cap", "a reserve"],
)
def test_what_is_no_amount_is_another_family(other: ComputeRequest) -> None:
    assert not agree(request(8), other)


def test_two_texts_are_two_families() -> None:
    one, other = request(8, "Think step by step."), request(8, "Take a deep breath.")
    assert not agree(one, other)
    assert agree(one, replace(one, budget=budget(16, answer_tokens=None)))


# --- amounts in words


def test_instructed_lengths_are_one_family_each_in_their_order() -> None:
    tokens = [request(words=f"Think for up to {count} tokens.") for count in (512, 1024, 16384)]
    steps = [request(words=f"Think for up to {count} steps.") for count in (16, 32, 256)]
    classes = [request(words=SHORT), request(words=LONG)]
    for kind in (tokens, steps, classes):
        assert all(agree(one, other) for one in kind for other in kind)
        assert in_order(kind)
    for one, other in ((tokens, steps), (steps, classes), (classes, tokens)):
        assert not agree(one[0], other[0])
    assert not agree(tokens[0], ComputeRequest(NO_FORCING, "Think for up to 512 tokens."))


def test_forced_to_the_amount_is_another_method_than_asked_for_it() -> None:
    """TCC and TCC + BF of the paper's Table 3; each has its own Control."""
    asked = [request(words=f"Think for up to {count} tokens.") for count in (1024, 2048)]
    forced = [
        replace(each, budget=budget(most, answer_tokens=None)) for each, most in zip(asked, (1024, 2048), strict=True)
    ]
    assert not agree(asked[0], forced[0])
    assert agree(*forced) and in_order(forced)
    assert [bounds(each) for each in asked] == [Bounds(0, 1024), Bounds(0, 2048)]
    assert [bounds(each) for each in forced] == [Bounds(0, 1024), Bounds(0, 2048)]
    assert bounds(request(512, "Think for up to 1024 tokens.")) == Bounds(0, 512)


@pytest.mark.parametrize(
    ("asked", "named", "bounded"),
    [
        (request(), "natural end", None),
        (request(16), "max 16", Bounds(0, 16)),
        (request(waits=2), "Wait x2", None),
        (request(32, waits=2, continuation=""), "suppressed end x2, max 32", Bounds(0, 32)),
        (request(min_thinking_tokens=64), "min 64", Bounds(64, None)),
        (request(96, waits=1, min_thinking_tokens=64), "Wait x1, min 64, max 96", Bounds(64, 96)),
        (request(16, compat=Compat.S1), "max 16", Bounds(0, 16)),
        (ComputeRequest(NO_FORCING), "no forcing", None),
        (request(words="Think for up to 1024 tokens."), "asked 1024 tokens", Bounds(0, 1024)),
        (request(1024, "Think for up to 1024 tokens."), "asked 1024 tokens, max 1024", Bounds(0, 1024)),
        (request(words="Think for up to 64 steps."), "asked 64 steps", Bounds(0, 6400)),
        (request(words=SHORT), "asked short", None),
        (request(words=LONG, waits=1), "asked long, Wait x1", None),
        (ComputeRequest(NO_FORCING, LONG), "asked long, no forcing", None),
        (request(8, "Think step by step."), "max 8", Bounds(0, 8)),
    ],
)
def test_a_request_in_a_few_words_and_its_requested_length(
    asked: ComputeRequest, named: str, bounded: Bounds | None
) -> None:
    assert (label(asked), bounds(asked)) == (named, bounded)


def test_expected_tokens_are_those_of_the_forcing() -> None:
    def expected(asked: ComputeRequest) -> int:
        return method_of(asked).expected_thinking_tokens(asked, 30)

    assert [expected(request(most)) for most in (8, 64, None)] == [8, 30, 30]
    assert [expected(request(waits=2)), expected(request(min_thinking_tokens=64))] == [90, 64]
    assert [expected(ComputeRequest(NO_FORCING)), expected(request(8, "Think for up to 64 tokens."))] == [30, 8]


def test_the_policy_of_an_amount_in_words_is_that_of_the_forcing_beneath() -> None:
    ids, asked = thinking_format_ids(THINKING_FORMAT, WordTokenizer()), request(8, "Think for up to 64 tokens.")
    method = method_of(asked)
    assert isinstance(method, TraceMethod)
    policy = method.policy(asked, ids, (), 200)
    assert policy == BudgetForcing(asked.budget, ids, (), 200)


# --- the reserve


@pytest.mark.parametrize(
    ("context", "fields", "reserve"),
    [
        (32768, {}, 1024),
        (4096, {}, 1024),
        (4095, {}, 1023),
        (512, {}, 128),
        (32768, {"answer_tokens": 8}, 8),
        (32768, {"answer_tokens": 4096}, 1024),
        (512, {"answer_reserve": 300}, 300),
        (512, {"answer_reserve": 300, "answer_tokens": 16}, 16),
    ],
)
def test_thinking_leaves_a_reserve_and_no_more_than_a_capped_answer_needs(
    context: int, fields: dict[str, Any], reserve: int
) -> None:
    assert answer_reserve(request(**fields).budget, context) == reserve


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (
            ["budget.max_thinking_tokens=384"],
            r"max_thinking_tokens 384: with 128 tokens reserved for the answer it",
        ),
        (["budget=min", "budget.min_thinking_tokens=384"], r"min_thinking_tokens 384: with 128 tokens"),
        (["budget.max_thinking_tokens=8", "budget.answer_reserve=504"], r"max_thinking_tokens 8: with 504 tokens"),
        (["budget.answer_reserve=512"], r"budget\.answer_reserve 512: leaves no tokens for thinking in .* 512"),
        (["budget.answer_reserve=0"], r"budget\.answer_reserve 0"),
        (["budget.answer_tokens=0"], r"budget\.answer_tokens 0"),
        (["budget.compat=s1", "budget.answer_reserve=64"], r"answer_reserve 64: compat=s1 always leaves 100 tokens"),
        (["budget.compat=s1", "budget.max_thinking_tokens=412"], r"max_thinking_tokens 412: with 100 tokens"),
        (["budget.compat=s1", "budget.min_thinking_tokens=9"], r"min_thinking_tokens 9: compat=s1 counts ends"),
        (["budget=none", "budget.answer_tokens=64"], r"answer_tokens 64: budget=none generates .* Set it to null"),
        (["budget=none", "budget.waits=1"], r"waits 1: budget=none forces nothing"),
        (
            ["budget.max_thinking_tokens=384", "task.instruction='Think for up to 64 tokens.'"],
            r"max_thinking_tokens 384: with 128 tokens",
        ),
        (["task.answer_tokens=8"], r"task\.answer_tokens"),
    ],
)
def test_a_budget_that_no_answer_would_fit_beside_is_refused(changed: list[str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        compose(changed)


def test_what_fits_composes() -> None:
    for changed in (
        ["budget.max_thinking_tokens=383"],
        ["budget.compat=s1", "budget.max_thinking_tokens=411"],
        ["budget.max_thinking_tokens=500", "budget.answer_tokens=8"],
        ["budget=none"],
        ["budget.max_thinking_tokens=500", "budget.answer_reserve=8"],
    ):
        assert compose(changed).points


# --- one key


def test_a_string_that_is_never_appended_is_in_no_key() -> None:
    def effective(wanted: Budget) -> Budget:
        return method_of(ComputeRequest(wanted)).effective_budget(ComputeRequest(wanted))

    def key(wanted: Budget) -> str:
        return key_of(effective(wanted))

    assert key(budget(8, continuation="Hmm")) == key(budget(8, continuation="Wait"))
    assert key(budget(waits=1, continuation="Hmm")) != key(budget(waits=1, continuation="Wait"))
    assert key(budget(min_thinking_tokens=8, continuation="Hmm")) != key(budget(min_thinking_tokens=8))
    assert key(replace(NO_FORCING, continuation="Wait")) == key(NO_FORCING)
    assert effective(budget(waits=1)) == budget(waits=1)


def test_points_that_differ_in_an_unused_string_share_their_answers() -> None:
    from s1.pipeline import stages_of

    points = compose(["budget.max_thinking_tokens=8", "budget.continuation=Wait,Hmm", "-m"]).points
    one, other = (stages_of(x).evaluation.traces for x in points)
    assert one.key == other.key
    assert isinstance(one.config, TracesConfig) and one.config.budget.continuation == ""


# --- one file


TOY = '''
from s1.generate.methods.method import Bounds, Method
from s1.config.schema import Compat, Forcing


class Toy(Method):
    """Serves what nothing else does."""

    name = "toy"

    def serves(self, request):
        return request.budget.continuation == "toy"

    def family(self, request):
        return {"method": self.name}

    def amount(self, request):
        return (request.budget.waits,)

    def label(self, request):
        return f"toy {request.budget.waits}"


METHOD = Toy()
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ComputeRequest]:
    """A request that only a method in a folder beside the package serves."""
    (tmp_path / "toy_method.py").write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    yield ComputeRequest(replace(NO_FORCING, forcing=None, continuation="toy", waits=3))  # type: ignore[arg-type]
    sys.modules.pop(f"{package.__name__}.toy_method", None)


def test_a_new_method_is_one_file(toy: ComputeRequest) -> None:
    assert "toy" in [method.name for method in methods()]
    assert (label(toy), amount(toy), family(toy), bounds(toy)) == ("toy 3", (3,), {"method": "toy"}, None)
    asked = replace(toy, instruction="Think for up to 64 tokens.")
    assert (label(asked), amount(asked)) == ("asked 64 tokens, toy 3", (64.0, 3))
    assert method_of(asked).effective_budget(asked).continuation == "toy"


def test_it_is_gone_with_its_file_and_a_request_of_no_method_is_refused() -> None:
    nobodys = replace(NO_FORCING, forcing=None, continuation="toy")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"served by none instead of exactly one method"):
        method_of(ComputeRequest(nobodys))


def test_a_request_of_two_methods_is_refused(toy: ComputeRequest) -> None:
    with pytest.raises(ConfigError, match=r"served by forcing, toy instead of exactly one method"):
        method_of(replace(toy, budget=budget(continuation="toy")))
