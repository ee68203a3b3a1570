"""The Pareto front of points by cost and accuracy: those that no other point beats.

A point is on the front unless another costs no more and is at least as accurate, with one of the two strictly better.
Points that tie in both are on it together. Every resample of questions has a front of its own, over the resampled means
of both cost and accuracy, so the share of resamples in which a point is on the front says how sure that is.
"""

from __future__ import annotations

import numpy as np

DECIMALS = 9  # rounding must not break a tie, such as that of the natural end and a maximum that cuts nothing
MOST_PAIRS = 4_000_000  # compared at once


def on_front(cost_P: np.ndarray, accuracy_P: np.ndarray) -> np.ndarray:
    """Whether each of P points is on the front: front_P. Further axes may precede the last one."""
    cost, accuracy = cost_P.round(DECIMALS), accuracy_P.round(DECIMALS)
    others_cost, others_accuracy = cost[..., None, :], accuracy[..., None, :]
    as_good = (others_cost <= cost[..., None]) & (others_accuracy >= accuracy[..., None])
    better = (others_cost < cost[..., None]) | (others_accuracy > accuracy[..., None])
    return np.logical_not((as_good & better).any(axis=-1))


def front_share(cost_QP: np.ndarray, accuracy_QP: np.ndarray, counts_RQ: np.ndarray) -> np.ndarray:
    """Share of R resamples of questions in which each point is on the front: share_P."""
    questions, points = cost_QP.shape
    step = max(1, MOST_PAIRS // points**2)
    chunks = (counts_RQ[start : start + step] / questions for start in range(0, len(counts_RQ), step))
    return np.concatenate([on_front(chunk @ cost_QP, chunk @ accuracy_QP) for chunk in chunks]).mean(axis=0)


def best_within(cost_P: np.ndarray, accuracy_P: np.ndarray, budget: float, among_P: np.ndarray) -> int | None:
    """Index of the most accurate of the points in `among_P` that cost at most `budget`; None if none does.

    Of equally accurate ones it is the cheapest, of these the first.
    """
    affordable = np.flatnonzero(among_P & (cost_P.round(DECIMALS) <= round(budget, DECIMALS)))
    if not len(affordable):
        return None
    order = np.lexsort((affordable, cost_P[affordable].round(DECIMALS), -accuracy_P[affordable].round(DECIMALS)))
    return int(affordable[order[0]])
