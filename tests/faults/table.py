"""The table that `make faults` prints: cases, outcomes and cost by kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.faults.trial import Outcome, Verdict

HEADINGS = ("kind", "tried", "survived", "of these after one more run", "stages made twice", "silent", "broken")


def table(outcomes: Sequence[Outcome], there_are: int, seconds: float, jobs: int) -> str:
    """Markdown."""
    kinds = sorted({each.case.kind for each in outcomes})
    rows = [_row(kind, [each for each in outcomes if each.case.kind == kind]) for kind in kinds]
    rows.append(_row("all", outcomes))
    lines = [
        "# Faults",
        "",
        "What happens to a sweep and its store, by kind of fault; written by `make faults` (tests/faults/).",
        "Survived: the same command again gives every byte of an undisturbed run, and says what was damaged.",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|---|" + "---:|" * (len(HEADINGS) - 1),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        f"{len(outcomes)} of {there_are} cases in {seconds:.0f} s, {jobs} at a time.",
    ]
    skipped = [each for each in outcomes if each.verdict is Verdict.SKIPPED]
    for reason in sorted({each.reasons[0] for each in skipped}):
        lines.append(f"Skipped, {sum(each.reasons[0] == reason for each in skipped)} cases: {reason}")
    return "\n".join(lines) + "\n"


def _row(kind: str, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    def count(*verdicts: Verdict) -> int:
        return sum(each.verdict in verdicts for each in outcomes)

    return (
        kind,
        str(len(outcomes) - count(Verdict.SKIPPED)),
        str(count(Verdict.SURVIVED, Verdict.ONCE_MORE)),
        str(count(Verdict.ONCE_MORE)),
        str(sum(each.repeated for each in outcomes if each.is_good)),
        str(count(Verdict.SILENT)),
        str(count(Verdict.BROKEN)),
    )


def summary(outcome: Outcome) -> dict[str, Any]:
    """As JSON, for the tests."""
    return {
        "id": outcome.case.id,
        "kind": outcome.case.kind,
        "verdict": outcome.verdict.value,
        "reasons": list(outcome.reasons),
        "repeated": outcome.repeated,
        "seconds": outcome.seconds,
        "output": outcome.output if not outcome.is_good else "",
    }
