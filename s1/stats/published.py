"""Compare an estimate with one published number.

    differs       the interval of ours does not contain the published number
    agrees        the whole interval of ours lies within a margin of it (an equivalence test; at 95%, stricter than the
                  two one-sided tests at 5%, whose interval is that at 90%)
    undecided     neither: n is too small to tell

The published number is taken as fixed although it is a share of n questions itself. Both runs answer the same
questions, so how hard these happen to be moves both alike. What is left of the published number's error is that of
sampling the answers once more, a variance of w / n, where w is the mean of m (1 - m) over the questions' own chances m.
The interval of ours allows for p (1 - p) / n, which contains the questions' part too, and is more than the 2 w / n of
both runs unless most of the uncertainty lies within questions. Adding p (1 - p) / n for the published number would
count the questions twice, and let almost nothing differ at n = 30. The argument fails for other questions than the
published ones: there no value is judged (s1/report/paper_rows.py).
"""

from __future__ import annotations

from enum import Enum

from s1.stats.interval import Estimate

ROUNDING = 0.00051  # published shares have one decimal of a percent


class Verdict(Enum):
    AGREES = "agrees"
    DIFFERS = "differs"
    UNDECIDED = "undecided"


def by_value(ours: Estimate, published: float, margin: float) -> Verdict:
    """Compare in the unit of `ours`; undecided without an interval."""
    if ours.lo is None or ours.hi is None:
        return Verdict.UNDECIDED
    if not ours.lo <= published <= ours.hi:
        return Verdict.DIFFERS
    is_close = published - margin <= ours.lo and ours.hi <= published + margin
    return Verdict.AGREES if is_close else Verdict.UNDECIDED


def by_direction(ours: Estimate, published: float) -> Verdict:
    """Whether a difference or slope has the sign of the published one, which is not 0."""
    if ours.lo is None or ours.hi is None or ours.lo <= 0 <= ours.hi:
        return Verdict.UNDECIDED
    return Verdict.AGREES if (ours.lo > 0) == (published > 0) else Verdict.DIFFERS


def exact_share(percent: float, n: int | None) -> float:
    """The share behind a rounded percentage: 17/30 for 56.7 of 30 questions, if it is one of so many."""
    share = percent / 100
    if not n:
        return share
    nearest = round(share * n) / n
    return nearest if abs(nearest - share) <= ROUNDING else share
