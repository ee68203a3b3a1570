"""Selection against its definition: properties for any pool, golden ids for a fixed one, the law of the ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1.config.data import SeedSet, Selection, Strategy, Tail
from s1.config.schema import ConfigError
from s1.data.select import Candidate, drawn_rank, eligible, select, tail_weights

AIME, GPQA, OTHER = "qq8933/AIME_1983_2024", "Idavidrein/gpqa", "TIGER-Lab/TheoremQA"


@st.composite
def pools(draw: st.DrawFn) -> list[Candidate]:
    rows = st.tuples(st.sampled_from([AIME, GPQA, OTHER]), st.sampled_from("abc"), st.integers(0, 5))
    return [Candidate(f"{n:03d}", *row) for n, row in enumerate(draw(st.lists(rows, min_size=1, max_size=30)))]


def made_pool(rows: int) -> list[Candidate]:
    """A few large domains, many small ones, one of a single row; lengths repeat."""
    random = Random(0)
    sizes = [8, 5, 3, 2, 1, 1, 1]
    pool = []
    for n in range(rows - 1):
        domain = f"domain {random.choices(range(7), sizes)[0]}"
        pool.append(Candidate(f"{n:04d}", random.choice([AIME, GPQA, OTHER]), domain, random.randrange(100, 160)))
    return [*pool, Candidate("alone", OTHER, "domain of one", 1)]


def choice(strategy: Strategy, examples: int | None, seed: int = 0, **fields: Any) -> Selection:
    return Selection(strategy, None if strategy is Strategy.ALL else examples, seed, **fields)


# ----------------------------------------------------------------------------------------------- properties


@given(pools(), st.sampled_from(Strategy), st.data())
def test_the_same_pool_and_seed_give_the_same_ids_in_whatever_order_it_is_given(
    pool: list[Candidate], strategy: Strategy, data: st.DataObject
) -> None:
    selection = choice(strategy, data.draw(st.integers(1, len(pool))), seed=data.draw(st.integers(0, 5)))
    shuffled = data.draw(st.permutations(pool))
    assert select(shuffled, selection) == select(pool, selection)


@given(pools(), st.sampled_from(Strategy), st.booleans(), st.data())
def test_as_many_as_asked_for_and_none_twice(
    pool: list[Candidate], strategy: Strategy, favour_long: bool, data: st.DataObject
) -> None:
    wanted = data.draw(st.integers(1, len(pool)))
    fields = {"favour_long": favour_long} if strategy is Strategy.DIVERSE else {}
    chosen = select(pool, choice(strategy, wanted, **fields))
    assert len(chosen) == (len(pool) if strategy is Strategy.ALL else wanted)
    assert chosen == sorted(set(chosen) & {candidate.id for candidate in pool})


@given(pools(), st.data())
def test_the_seed_set_is_in_whatever_is_drawn_beside_it(pool: list[Candidate], data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, len(pool)))
    seeds = data.draw(st.sets(st.sampled_from([candidate.id for candidate in pool]), max_size=wanted))
    chosen = select(pool, choice(Strategy.DIVERSE, wanted), seeds)
    assert len(chosen) == wanted
    assert seeds <= set(chosen)


@pytest.mark.parametrize("strategy", [Strategy.RANDOM, Strategy.DIVERSE])
def test_other_seeds_give_other_ids(strategy: Strategy) -> None:
    pool = made_pool(400)
    chosen = {tuple(select(pool, choice(strategy, 20, seed))) for seed in range(10)}
    assert len(chosen) == 10


# ----------------------------------------------------------------------------------------- what each one is


def test_the_ids_of_a_fixed_pool_and_seed_are_the_golden_ones(golden: Callable[[str, str], None]) -> None:
    """A change here changes every training set that anybody has chosen: do not accept it lightly."""
    pool, tail = made_pool(400), Tail(after=10, first=AIME, others={GPQA: 0.5})
    seeds = [candidate.id for candidate in pool[:5]]
    lines = [
        ("random", select(pool, choice(Strategy.RANDOM, 20))),
        ("longest", select(pool, choice(Strategy.LONGEST, 20))),
        ("diverse", select(pool, choice(Strategy.DIVERSE, 20))),
        ("diverse, any length", select(pool, choice(Strategy.DIVERSE, 20, favour_long=False))),
        ("diverse, with a tail", select(pool, choice(Strategy.DIVERSE, 20, tail=tail))),
        ("diverse, after a seed set", select(pool, choice(Strategy.DIVERSE, 20), seeds)),
    ]
    golden("data/selection.txt", "".join(f"{name:26}{' '.join(ids)}\n" for name, ids in lines))


def test_the_longest_are_the_longest_and_equal_lengths_go_by_id() -> None:
    pool = [Candidate(name, OTHER, "d", tokens) for name, tokens in (("c", 5), ("a", 5), ("b", 5), ("d", 9), ("e", 1))]
    assert select(pool, choice(Strategy.LONGEST, 3)) == ["a", "b", "d"]


def test_domains_are_drawn_alike_however_many_rows_they_have() -> None:
    pool = [Candidate(f"{n:04d}", OTHER, "large" if n < 900 else "small", n) for n in range(1000)]
    chosen = select(pool, choice(Strategy.DIVERSE, 60))
    small = sum(id_ >= "0900" for id_ in chosen)
    assert 18 <= small <= 42  # 30 expected; beyond this once in 500 seeds


def test_a_domain_with_one_row_gives_it_and_is_gone() -> None:
    pool = [Candidate("only", OTHER, "one", 5), *(Candidate(f"{n}", OTHER, "many", n) for n in range(9))]
    assert select(pool, choice(Strategy.DIVERSE, 10)) == sorted(candidate.id for candidate in pool)


def test_a_domain_whose_rows_are_all_seeds_adds_nothing() -> None:
    """As in s1: seeds stay in their domains, and drawing one again does not grow the set."""
    pool = [Candidate(f"{n:02d}", OTHER, "seeds" if n < 20 else "rest", 100 - n) for n in range(40)]
    seeds = [candidate.id for candidate in pool[:20]]
    chosen = select(pool, choice(Strategy.DIVERSE, 25), seeds)
    assert set(seeds) < set(chosen)
    assert len(chosen) == 25


def test_with_long_traces_favoured_the_longest_of_each_domain_are_chosen_and_otherwise_not() -> None:
    pool = [Candidate(f"{n:04d}", OTHER, f"domain {n % 10}", tokens=n) for n in range(2000)]
    favoured = select(pool, choice(Strategy.DIVERSE, 100))
    uniform = select(pool, choice(Strategy.DIVERSE, 100, favour_long=False))
    assert sum(map(int, favoured)) / 100 > 1850
    assert 800 < sum(map(int, uniform)) / 100 < 1200


# ---------------------------------------------------------------------------------------- the law of the ranks


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 5000])
def test_ranks_follow_two_to_the_minus_rank(rows: int) -> None:
    """Chi-square over the ranks expected 5 times or more, the rest together; 5000 rows underflow nothing."""
    draws, random = 20_000, Random(7)
    seen = Counter(drawn_rank(rows, random) for _ in range(draws))
    whole = sum(2.0**-rank for rank in range(min(rows, 60)))
    expected = [draws * 2.0**-rank / whole for rank in range(min(rows, 12))]
    cells = [(seen[rank], each) for rank, each in enumerate(expected)]
    cells.append((draws - sum(each for each, _ in cells), draws - sum(expected)))
    chi_square = sum((found - each) ** 2 / each for found, each in cells if each > 1e-6)
    assert chi_square < 32.9  # 12 degrees of freedom: once in 1,000 seeds
    assert max(seen) < rows


def test_the_longest_of_ten_or_more_is_drawn_half_of_the_time() -> None:
    pool = [Candidate(f"{n:02d}", OTHER, "d", tokens=n) for n in range(12)]
    first = Counter(select(pool, choice(Strategy.DIVERSE, 1, seed))[0] for seed in range(1000))
    assert 450 <= first["11"] <= 550
    assert 205 <= first["10"] <= 295


# ------------------------------------------------------------------------------------ seed set and benchmarks


def test_the_seed_set_takes_all_of_some_sources_and_long_ones_of_others() -> None:
    seed_set = SeedSet(sources=[GPQA, AIME], long_sources={"qfq/openaimath": 5600})
    cases = [
        (Candidate("a", GPQA, "d", 1), True),
        (Candidate("b", AIME, "d", 1), True),
        (Candidate("c", "qfq/openaimath/Precalculus", "d", 5601), True),
        (Candidate("d", "qfq/openaimath/Precalculus", "d", 5600), False),
        (Candidate("e", OTHER, "d", 9999), False),
    ]
    assert [eligible(candidate, seed_set) for candidate, _ in cases] == [wanted for _, wanted in cases]


def counted(source: str, rows_by_domain: dict[str, int]) -> list[Candidate]:
    return [
        Candidate(f"{source} {domain} {n}", source, domain, n)
        for domain, rows in rows_by_domain.items()
        for n in range(rows)
    ]


def test_the_tail_weighs_domains_by_what_the_benchmarks_hold() -> None:
    """AIME[d] + int(GPQA[d] x 0.5 x sum(AIME) / sum(GPQA)): 0.5 x 12 / 8 = 0.75 a row."""
    pool = [
        *counted(AIME, {"geometry": 9, "number theory": 3}),
        *counted(GPQA, {"geometry": 1, "physics": 5, "biology": 2}),
        *counted(OTHER, {"geometry": 4, "crosswords": 7}),
    ]
    weights = tail_weights(pool, Tail(after=0, first=AIME, others={GPQA: 0.5}))
    assert weights == {"geometry": 9, "number theory": 3, "physics": 3, "biology": 1, "crosswords": 0}


def test_beyond_the_tail_no_row_comes_from_a_domain_without_benchmarks() -> None:
    pool = [*counted(AIME, {"a": 50}), *counted(OTHER, {f"b{n}": 50 for n in range(9)})]
    uniform = choice(Strategy.DIVERSE, 60)
    tailed = replace(uniform, tail=Tail(after=20, first=AIME, others={}))
    assert sum(id_.startswith(AIME) for id_ in select(pool, tailed)) >= 40
    assert sum(id_.startswith(AIME) for id_ in select(pool, uniform)) < 15
    assert set(select(pool, choice(Strategy.DIVERSE, 20))) < set(select(pool, tailed))  # up to there the same


# ------------------------------------------------------------------------------------------------ bad input


def refused(pool: Sequence[Candidate], selection: Selection, seeds: Sequence[str] = ()) -> str:
    with pytest.raises(ConfigError) as error:
        select(pool, selection, seeds)
    return str(error.value)


@pytest.mark.parametrize("strategy", [Strategy.RANDOM, Strategy.LONGEST, Strategy.DIVERSE])
def test_a_pool_smaller_than_the_request_is_refused_with_numbers(strategy: Strategy) -> None:
    message = refused(made_pool(30), choice(strategy, 31))
    assert message.startswith("data.selection.examples 31: only 30 candidates are left.")


def test_what_cannot_be_drawn_is_refused() -> None:
    pool = made_pool(30)
    assert refused([*pool, pool[3]], choice(Strategy.ALL, None)) == (
        "data.pool row 0003: two rows have this id. Remove one of them."
    )
    assert "the seed set alone has 3 examples. Raise it" in refused(pool, choice(Strategy.DIVERSE, 2), ["a", "b", "c"])
    unknown = Tail(after=5, first="AIME", others={})
    assert "tail 'AIME': no candidate has that source" in refused(pool, choice(Strategy.DIVERSE, 9, tail=unknown))
    few = [*counted(AIME, {"a": 5}), *counted(OTHER, {"b": 50})]
    used_up = Tail(after=0, first=AIME, others={})
    assert "no rows remain in the domains of its sources" in refused(few, choice(Strategy.DIVERSE, 9, tail=used_up))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strategy": Strategy.ALL, "examples": 3}, "strategy all takes all rows"),
        ({"strategy": Strategy.RANDOM}, "strategy random takes a number"),
        ({"strategy": Strategy.LONGEST, "examples": 3, "favour_long": False}, "belong to diverse"),
        ({"strategy": Strategy.RANDOM, "examples": 3, "seed_set": SeedSet([AIME], {})}, "belong to diverse"),
    ],
)
def test_a_selection_that_contradicts_itself_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Selection(**fields)
