"""Sets of training examples as the reports show them: how each was chosen, and what it consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from s1.data.curate import SELECTION
from s1.data.funnel import Dropped, FunnelStep, read_funnel
from s1.records import SelectedRow, read_rows


@dataclass(frozen=True)
class DropGroup:
    """The examples of one source or domain."""

    name: str
    examples: int
    tokens: int  # in all their traces

    @property
    def mean_tokens(self) -> float:
        return self.tokens / self.examples


@dataclass(frozen=True)
class CuratedSet:
    """A set of examples, and how it was chosen."""

    name: str
    key: str
    steps: list[FunnelStep]
    chosen: list[SelectedRow]

    @property
    def whole(self) -> DropGroup:
        return DropGroup("all", len(self.chosen), sum(each.tokens for each in self.chosen))

    @property
    def by_source(self) -> list[DropGroup]:
        return _groups([(each.source, each.tokens) for each in self.chosen])

    @property
    def by_domain(self) -> list[DropGroup]:
        return _groups([(each.domain, each.tokens) for each in self.chosen])

    @property
    def mixture(self) -> list[tuple[str, int, int, int]]:
        """By source of a mixture: its name, rows read, rows taken into the mixture, examples chosen from them."""
        counted = [step.kept_by_source for step in self.steps if step.kept_by_source]
        if not counted:
            return []
        read, taken = counted[0], counted[-1]
        return [
            (name, read[name], taken[name], sum(each.source.startswith(f"{name}/") for each in self.chosen))
            for name in taken
        ]

    @property
    def dropped(self) -> list[tuple[FunnelStep, Dropped]]:
        """A few sample rows for each reason; FunnelStep.dropped has the counts."""
        return [(step, row) for step in self.steps for row in step.examples]

    @property
    def judged(self) -> list[bool]:
        """Whether each trace gives the right answer, for rows whose reference can be graded."""
        return [each.teacher_correct for each in self.chosen if each.teacher_correct is not None]


def _groups(tokens_by_name: Sequence[tuple[str, int]]) -> list[DropGroup]:
    """Groups by name, largest first."""
    members = {name: [tokens for _, tokens in each] for name, each in groupby(sorted(tokens_by_name), lambda it: it[0])}
    groups = [DropGroup(name, len(tokens), sum(tokens)) for name, tokens in members.items()]
    return sorted(groups, key=lambda group: -group.examples)


def curated_sets(names: Sequence[str], directories: Sequence[Path]) -> list[CuratedSet]:
    """Read what the stage curated wrote, one directory per name."""
    return [
        CuratedSet(name, path.parent.name, read_funnel(path), list(read_rows(path / SELECTION, SelectedRow)))
        for name, path in zip(names, directories, strict=True)
    ]
