"""funnel.csv: one row per set, step and reason; a step that dropped nothing has one row with an empty reason.

`kept` is what the whole step kept, `dropped` what it dropped for this reason; `key` is the directory curated/<key>.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from s1.data.funnel import Dropped, Step
from s1.records import Chosen
from s1.report.table import csv_text


@dataclass(frozen=True)
class Group:
    """The examples of one source or domain."""

    name: str
    examples: int
    tokens: int  # of their traces

    @property
    def mean_tokens(self) -> float:
        return self.tokens / self.examples


@dataclass(frozen=True)
class CuratedSet:
    """A set of examples, and how it was chosen."""

    name: str
    key: str
    steps: list[Step]
    chosen: list[Chosen]

    @property
    def whole(self) -> Group:
        return Group("all", len(self.chosen), sum(each.tokens for each in self.chosen))

    @property
    def by_source(self) -> list[Group]:
        return _groups([(each.source, each.tokens) for each in self.chosen])

    @property
    def by_domain(self) -> list[Group]:
        return _groups([(each.domain, each.tokens) for each in self.chosen])

    @property
    def dropped(self) -> list[tuple[Step, Dropped]]:
        """A few rows of each reason."""
        return [(step, row) for step in self.steps for row in step.examples]

    @property
    def judged(self) -> list[bool]:
        """Whether each trace gives the right answer, of those whose reference can be graded."""
        return [each.teacher_correct for each in self.chosen if each.teacher_correct is not None]


def _groups(tokens_by_name: Sequence[tuple[str, int]]) -> list[Group]:
    """The largest first."""
    members = {name: [tokens for _, tokens in each] for name, each in groupby(sorted(tokens_by_name), lambda it: it[0])}
    groups = [Group(name, len(tokens), sum(tokens)) for name, tokens in members.items()]
    return sorted(groups, key=lambda group: -group.examples)


def funnel_csv(sets: Sequence[CuratedSet]) -> str:
    """The whole file."""
    return csv_text(
        [
            {"set": each.name, "step": step.name, "kept": step.kept, "dropped": rows, "reason": reason, "key": each.key}
            for each in sets
            for step in each.steps
            for reason, rows in step.dropped.items() or [("", 0)]
        ]
    )
