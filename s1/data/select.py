"""Select training examples from candidates (paper, section 2.2, Algorithm 1 and section 5.1; s1's code for the rest).

    all        every candidate
    random     uniformly, without replacement
    longest    the candidates with the longest traces
    diverse    until there are enough: draw a domain, then draw one of its remaining rows and remove it from the domain;
               rank r (0: the longest trace) has probability 2^-r / (2^0 + 2^-1 + ...), or any row is equally likely
               with favour_long=false

Diverse may begin with a seed set. Seed rows stay in their domains, so a draw may hit a row that is already selected and
add nothing: domains rich in seeds gain fewer rows, as in s1. Domains are drawn uniformly among those that are not
empty; once `tail.after` rows are selected, by their frequency in the benchmarks.

The result depends only on the candidates and the seed, not on file order: candidates are sorted by id first, and ties
in length keep that order.
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
    """The fields of a pool row that selection uses."""

    id: str
    source: str
    domain: str
    tokens: int  # of its trace


def select(candidates: Sequence[Candidate], selection: Selection, seeds: Collection[str] = ()) -> list[str]:
    """The sorted ids of the selected candidates. Raises ConfigError for duplicate ids or too few candidates."""
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
    """Whether a candidate belongs to the seed set, provided that its answer is correct."""
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
    selected = set(seeds)
    if len(selected) > wanted:
        raise ConfigError(
            f"data.selection.examples {wanted}: the seed set alone has {len(selected)} examples. Raise it, or narrow"
            " seed_set."
        )
    while len(selected) < wanted:
        uniformly = tail is None or len(selected) < tail.after
        selected.add(domains.draw(None if uniformly else weights))
    return list(selected)


class Domains:
    """The rows of each domain that have not been drawn; empty domains are removed."""

    def __init__(self, ordered: Sequence[Candidate], selection: Selection) -> None:
        self.random = Random(selection.seed)
        self.favour_long = selection.favour_long
        self.names = sorted({candidate.domain for candidate in ordered})
        self.ids: dict[str, list[str]] = {name: [] for name in self.names}  # the longest trace last
        for candidate in reversed(longest_first(ordered)):
            self.ids[candidate.domain].append(candidate.id)

    def draw(self, weights: Mapping[str, int] | None) -> str:
        """Draw a row's id; without weights domains are equally likely. Raises ConfigError if all weights left are 0."""
        if weights is None:
            return self._take(self.random.randrange(len(self.names)))
        remaining = [weights[name] for name in self.names]
        if not any(remaining):
            raise ConfigError(
                "data.selection.tail: no rows remain in the domains of its sources. Raise tail.after, or set tail to"
                " null."
            )
        return self._take(self.random.choices(range(len(remaining)), remaining)[0])

    def _take(self, domain: int) -> str:
        ids = self.ids[self.names[domain]]
        rank = drawn_rank(len(ids), self.random) if self.favour_long else self.random.randrange(len(ids))
        taken = ids.pop(-1 - rank)
        if not ids:
            self.names[domain] = self.names[-1]  # remove in constant time
            self.names.pop()
        return taken


def longest_first(ordered: Sequence[Candidate]) -> list[Candidate]:
    """By trace length; equal lengths keep their order."""
    return sorted(ordered, key=lambda candidate: -candidate.tokens)


def drawn_rank(rows: int, random: Random) -> int:
    """Draw rank r < rows with probability proportional to 2^-r, by coin tosses so that nothing underflows."""
    while True:
        rank = next(rank for rank in count() if random.getrandbits(1))
        if rank < rows:
            return rank


def tail_weights(candidates: Sequence[Candidate], tail: Tail) -> dict[str, int]:
    """Weight by domain: its rows in the first source, plus those in the others scaled to their shares of the first."""
    weights = _counts(candidates, tail.first)
    first = weights.total()
    for source, share in tail.others.items():
        counts = _counts(candidates, source)
        weights.update({domain: int(rows * share * first / counts.total()) for domain, rows in counts.items()})
    return {candidate.domain: weights[candidate.domain] for candidate in candidates}


def _counts(candidates: Sequence[Candidate], source: str) -> Counter[str]:
    """Rows by domain, over sources with this prefix."""
    counts = Counter(candidate.domain for candidate in candidates if candidate.source.startswith(source))
    if not counts:
        raise ConfigError(
            f"data.selection.tail {source!r}: no candidate has that source. Name one that remains after filtering."
        )
    return counts


def _check(ordered: Sequence[Candidate], wanted: int) -> None:
    if len(ordered) < wanted:
        raise ConfigError(
            f"data.selection.examples {wanted}: only {len(ordered)} candidates are left."
            " Lower it, or choose a larger pool."
        )
    for first, second in pairwise(ordered):
        if first.id == second.id:
            raise ConfigError(f"data.pool row {first.id}: two rows have this id. Remove one of them.")
