"""Loops: whether a sequence of tokens repeats one phrase in direct succession, and how varied its n-grams are.

    loops        somewhere, a phrase of any length is written at least 3 times in a row, over at least 50 tokens
    distinct-4   share of the 4-grams of a sequence that are different from each other (distinct-n of Li et al., 2016;
                 1 - seq-rep-4 of Welleck et al., 2020)

The repetition count of Holtzman et al. (2020; arXiv 1904.09751) asks the same of the end of a text: it ends in copies
of a phrase of up to 90 tokens, and a phrase of one or two tokens must have more than 50 copies. We search the whole
sequence, since a model may leave a loop and a forced continuation may follow one, and phrases of any length. We ask for
3 copies, because two equal passes are a check of the first. A short phrase must fill 50 tokens, because tokenizers
write a long number digit by digit. Passes that differ in one token are not a loop; distinct-4 shows them.

Search: windows of W tokens get equal numbers where they are equal, by doubling W (Karp, Miller & Rosenberg, 1972). In a
loop whose shortest phrase has p <= W tokens, the previous equal window lies exactly p tokens before; so a loop is a run
of windows with one such distance, and all p in (W/2, W] are found at width W. Widths grow until no window recurs, which
in ordinary text is soon. The time is that of a few sorts of the sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COPIES = 3  # of the phrase, in direct succession
LOOP_TOKENS = 50  # over all copies
NGRAM = 4  # of distinct-4
FIRST_WINDOW = 16  # all phrases up to this length are found at once; below LOOP_TOKENS / 2


def loops(ids_T: np.ndarray) -> bool:
    """Whether T token ids contain a loop."""
    window, numbered = FIRST_WINDOW, _numbered_windows(ids_T, FIRST_WINDOW)
    while COPIES * (window // 2) < len(ids_T):
        gaps = _gaps(numbered)
        if not gaps.any():
            return False
        if _has_loop(gaps, window):
            return True
        numbered, window = _doubled(numbered, window), 2 * window
    return False


def distinct(ids_T: np.ndarray) -> float | None:
    """distinct-4 of T token ids; None if they have no 4-gram."""
    numbers = _numbered_windows(ids_T, NGRAM).numbers
    return float(numbers.max() + 1) / len(numbers) if len(numbers) else None


@dataclass(frozen=True)
class _Numbered:
    """For each start of a window of one width, a number from 0 that only equal windows share."""

    numbers: np.ndarray
    order: np.ndarray  # the starts, sorted by number, then by place


def _numbered_windows(ids_T: np.ndarray, window: int) -> _Numbered:
    """Number the windows of so many tokens, a power of two."""
    numbered, width = _numbered(ids_T.astype(np.int64)), 1
    while width < window:
        numbered, width = _doubled(numbered, width), 2 * width
    return numbered


def _doubled(narrow: _Numbered, width: int) -> _Numbered:
    """Number the windows of twice `width` tokens; none if none fits."""
    numbers = narrow.numbers
    if len(numbers) <= width:
        return _numbered(numbers[:0])
    return _numbered(numbers[:-width] * (int(numbers.max()) + 1) + numbers[width:])


def _numbered(values: np.ndarray) -> _Numbered:
    """Number equal values alike. Sorting pairs of value and place as one integer is faster than a stable sort."""
    count = max(len(values), 1)
    keys = np.sort(values * count + np.arange(len(values)))
    ranked, order = np.divmod(keys, count)
    numbers = np.empty_like(values)
    numbers[order] = np.cumsum(np.diff(ranked, prepend=ranked[:1]) != 0)
    return _Numbered(numbers, order)


def _gaps(numbered: _Numbered) -> np.ndarray:
    """Distance of each window to the previous equal one; 0 if it is the first."""
    numbers, order = numbered.numbers, numbered.order
    again = np.flatnonzero(np.diff(numbers[order]) == 0) + 1
    gaps = np.zeros_like(numbers)
    gaps[order[again]] = order[again] - order[again - 1]
    return gaps


def _has_loop(gaps: np.ndarray, window: int) -> bool:
    """Whether a run of windows with one distance spans enough copies and tokens."""
    starts = np.concatenate(([0], np.flatnonzero(np.diff(gaps)) + 1))
    periods, counts = gaps[starts], np.diff(np.append(starts, len(gaps)))
    spans = counts - 1 + window + periods
    return bool(((periods > 0) & (spans >= np.maximum(COPIES * periods, LOOP_TOKENS))).any())
