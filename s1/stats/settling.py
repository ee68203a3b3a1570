"""Where answers settle: the first point of a line from which on a trace's answer no longer changes.

The P points of a line are in the order of their amounts, and the thinking of each extends that of the one before. A
trace's answer at a point is a class: RIGHT, the number of a wrong answer, or SILENT (s1/stats/votes.py, with numbers
that hold for all points of the line). A trace that ends the line without an answer never settles.

    share after     thinking tokens after the answers settled, of all thinking tokens at the end of the line; over the
                    traces that settle; bootstrap over questions
    lost            right at a point of the line, and wrong or silent at its end
"""

from __future__ import annotations

import numpy as np

from s1.config.schema import Statistics
from s1.stats.bootstrap import draw_counts, statistic
from s1.stats.interval import Estimate, plain
from s1.stats.votes import RIGHT, SILENT

NEVER = -1


def settled_at(classes_PRQS: np.ndarray) -> np.ndarray:
    """Index of the point at which each trace's answer settles, NEVER if it ends without one: place_RQS."""
    points = len(classes_PRQS)
    stays_PRQS = np.logical_and.accumulate((classes_PRQS == classes_PRQS[-1])[::-1])
    return np.where(classes_PRQS[-1] == SILENT, NEVER, points - stays_PRQS.sum(axis=0))


def tokens_at(tokens_PRQS: np.ndarray, place_RQS: np.ndarray) -> np.ndarray:
    """Thinking tokens of each trace at the point with this index: tokens_RQS, meaningless where it is NEVER."""
    return np.take_along_axis(tokens_PRQS, place_RQS.clip(0)[None], axis=0)[0]


def lost_at(classes_PRQS: np.ndarray) -> np.ndarray:
    """Index of the last point at which a lost trace was right, NEVER for a trace that is not lost: place_RQS."""
    right_PRQS = classes_PRQS == RIGHT
    last_RQS = len(right_PRQS) - 1 - right_PRQS[::-1].argmax(axis=0)
    return np.where(right_PRQS.any(axis=0) & ~right_PRQS[-1], last_RQS, NEVER)


def settled_by(place_RQS: np.ndarray, points: int) -> np.ndarray:
    """Whether each trace has settled at each point: settled_PRQS."""
    place_P = np.arange(points).reshape(-1, *(1 for _ in place_RQS.shape))
    return (place_RQS != NEVER) & (place_RQS <= place_P)


def median_tokens(tokens_PRQS: np.ndarray, place_RQS: np.ndarray) -> float | None:
    """Median thinking tokens at which the traces settled; None if none did."""
    settled = place_RQS != NEVER
    return float(np.median(tokens_at(tokens_PRQS, place_RQS)[settled])) if settled.any() else None


def share_after(tokens_PRQS: np.ndarray, place_RQS: np.ndarray, statistics: Statistics) -> Estimate | None:
    """Share of the thinking that came after the answers settled; None if no trace that settles thinks."""
    settled = place_RQS != NEVER
    # A restarted round can think less in total than the point before it; then nothing came after.
    after_RQS = (tokens_PRQS[-1] - tokens_at(tokens_PRQS, place_RQS)).clip(0)
    after_Q, all_Q = (np.where(settled, each, 0).sum(axis=(0, 2)) for each in (after_RQS, tokens_PRQS[-1]))
    if not all_Q.sum():
        return None
    value, questions = float(after_Q.sum() / all_Q.sum()), int(settled.any(axis=(0, 2)).sum())
    counts_RQ = draw_counts(len(all_Q), statistics.resamples, statistics.seed)
    total_R = counts_RQ @ all_Q
    drawn_R = np.divide(counts_RQ @ after_Q, total_R, out=np.full(len(total_R), np.nan), where=total_R > 0)
    found = statistic(value, drawn_R, len(all_Q), statistics.level, "share") if len(all_Q) > 1 else None
    if found is None:
        return plain(value, questions, "ratio of totals; too few questions differ for an interval", "share")
    assert found.lo is not None and found.hi is not None  # `statistic` always gives an interval
    return Estimate(value, max(found.lo, 0), min(found.hi, 1), questions, found.method, "share", found.level)
