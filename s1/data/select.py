"""Which candidates become training examples (paper, section 2.2, Algorithm 1 and section 5.1; s1's code for the rest).

    all        every one
    random     uniformly, without replacement
    longest    those with the longest traces
    diverse    until there are enough: draw a domain, then of the rows left in it that of rank r (0: the longest trace)
               with probability 2^-r / (2^0 + 2^-1 + ...), and take it out of its domain; favour_long=false draws any

Diverse may begin with a seed set. Its rows stay in their domains, so a draw may hit one that is chosen already, and
nothing grows: domains rich in seeds get fewer rows of their own, as in s1. Domains are drawn uniformly among those that
are not empty, and beyond `tail.after` rows by what the benchmarks hold.

Everything depends on the candidates and the seed alone, not on their order: they are sorted by id first, and equal
lengths by id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from random import Random

from s1.config.data import SeedSet, Selection, Strategy, Tail
from s1.config.schema import ConfigError


@dataclass(frozen=True)
class Candidate:
    """A pool row as selection sees it."""

    id: str
    source: str
    domain: str
    tokens: int  # of its trace


def select(candidates: Sequence[Candidate], selection: Selection, seeds: Collection[str] = ()) -> list[str]:
    """The ids of the chosen, sorted. Raises ConfigError for doubles, or if there are too few candidates."""
    ordered = sorted(candidates, key=lambda candidate: candidate.id)
    wanted = len(ordered) if selection.examples is None else selection.examples
    _check(ordered, wanted)
    ids = [candidate.id for candidate in ordered]
    if selection.strategy is Strategy.RANDOM:
        ids = Random(selection.seed).sample(ids, wanted)
    elif selection.strategy is Strategy.LONGEST:
        ids = [candidate.id for candidate in longest_first(ordered)[:wanted]]
    elif selection.strategy is Strategy.DIVERSE:
        ids = _diverse(ordered, selection, seeds)
    return sorted(ids)


def eligible(candidate: Candidate, seed_set: SeedSet) -> bool:
    """Whether it belongs to the seed set if its trace gives the right answer."""
    if candidate.source.startswith(tuple(seed_set.sources)):
        return True
    return any(
        candidate.source.startswith(source) and candidate.tokens > tokens
        for source, tokens in seed_set.long_sources.items()
    )


# -------------------------------------------------------------------------------------------------- diverse


def _diverse(ordered: Sequence[Candidate], selection: Selection, seeds: Collection[str]) -> list[str]:
    wanted, tail = selection.examples or 0, selection.tail
    weights = tail_weights(ordered, tail) if tail else {}
    domains = Domains(ordered, selection)
    chosen = set(seeds)
    if len(chosen) > wanted:
        raise ConfigError(
            f"data.selection.examples {wanted}: the seed set alone has {len(chosen)}. Ask for more, or narrow seed_set."
        )
    while len(chosen) < wanted:
        uniformly = tail is None or len(chosen) < tail.after
        chosen.add(domains.draw(None if uniformly else weights))
    return list(chosen)


class Domains:
    """The rows that are left in each domain, to be drawn; an empty domain is gone."""

    def __init__(self, ordered: Sequence[Candidate], selection: Selection) -> None:
        self.random = Random(selection.seed)
        self.favour_long = selection.favour_long
        self.names = sorted({candidate.domain for candidate in ordered})
        self.ids: dict[str, list[str]] = {name: [] for name in self.names}  # the longest trace last
        for candidate in reversed(longest_first(ordered)):
            self.ids[candidate.domain].append(candidate.id)

    def draw(self, weights: Mapping[str, int] | None) -> str:
        """A row of a domain; all domains are equal unless there are weights. Raises ConfigError if all left are 0."""
        if weights is None:
            return self._take(self.random.randrange(len(self.names)))
        left = [weights[name] for name in self.names]
        if not any(left):
            raise ConfigError(
                "data.selection.tail: the domains of its sources are used up. Raise tail.after, or set tail to null."
            )
        return self._take(self.random.choices(range(len(left)), left)[0])

    def _take(self, domain: int) -> str:
        ids = self.ids[self.names[domain]]
        rank = drawn_rank(len(ids), self.random) if self.favour_long else self.random.randrange(len(ids))
        taken = ids.pop(-1 - rank)
        if not ids:
            self.names[domain] = self.names[-1]  # in constant time, whatever the number of domains
            self.names.pop()
        return taken


def longest_first(ordered: Sequence[Candidate]) -> list[Candidate]:
    """By trace length; equal lengths keep their order."""
    return sorted(ordered, key=lambda candidate: -candidate.tokens)


def drawn_rank(rows: int, random: Random) -> int:
    """0 half of the time, 1 a quarter, and so on over so many ranks: by tossing coins, so that nothing underflows."""
    while True:
        rank = next(rank for rank in count() if random.getrandbits(1))
        if rank < rows:
            return rank


def tail_weights(candidates: Sequence[Candidate], tail: Tail) -> dict[str, int]:
    """By domain: its rows of the first source, and those of the others scaled to their shares of it."""
    weights = _counts(candidates, tail.first)
    first = weights.total()
    for source, share in tail.others.items():
        counts = _counts(candidates, source)
        weights.update({domain: int(rows * share * first / counts.total()) for domain, rows in counts.items()})
    return {candidate.domain: weights[candidate.domain] for candidate in candidates}


def _counts(candidates: Sequence[Candidate], source: str) -> Counter[str]:
    """Rows by domain of the sources that begin like this."""
    counts = Counter(candidate.domain for candidate in candidates if candidate.source.startswith(source))
    if not counts:
        raise ConfigError(f"data.selection.tail {source!r}: no candidate is of that source. Name one that is left.")
    return counts


def _check(ordered: Sequence[Candidate], wanted: int) -> None:
    if len(ordered) < wanted:
        raise ConfigError(
            f"data.selection.examples {wanted}: {len(ordered)} candidates are left to choose from."
            " Ask for fewer, or give a larger pool."
        )
    for first, second in pairwise(ordered):
        if first.id == second.id:
            raise ConfigError(f"data.pool row {first.id}: is there twice. Remove one of them.")
