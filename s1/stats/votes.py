"""Unbiased pass@k and maj@k from S samples of each question, for every k from 1 to S.

    pass@k    at least one of k samples is correct: 1 - C(S - c, k) / C(S, k), if c of the S samples are correct
    maj@k     the majority answer is correct: the mean over all choices of k samples of 1/t if the correct answer is one
              of t answers tied for the most votes, else 0 (s1/evaluate/votes.py)

Both are expectations over the choice of k samples, so sample order does not matter. The original code uses the first k
and breaks ties by the answer seen first; averaged over all orders, this equals maj@k.
"""

from __future__ import annotations

import math

import numpy as np

from s1.evaluate.votes import RIGHT, SILENT, majority, tally, votes

__all__ = ["RIGHT", "SILENT", "majority_at", "pass_at", "votes"]


def pass_at(correct_QS: np.ndarray) -> np.ndarray:
    """Probability per question that k of its S samples include a correct one, for k = 1..S: pass_QK."""
    samples = correct_QS.shape[1]
    draws_K = [math.comb(samples, k) for k in range(1, samples + 1)]
    by_right = [
        [(draws - math.comb(samples - right, k)) / draws for k, draws in enumerate(draws_K, start=1)]
        for right in range(samples + 1)
    ]
    return np.array(by_right)[correct_QS.sum(axis=1)]


def majority_at(votes_QS: np.ndarray) -> np.ndarray:
    """Probability per question that the majority of k of its S samples is correct, for k = 1..S: majority_QK."""
    return np.array([majority(tally(votes_S)) for votes_S in votes_QS.tolist()])
