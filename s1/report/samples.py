"""samples.csv: what k samples of each question are worth, one row per point and k; points of one sample have none.

`pass` and `maj` lie between 0 and 1 (s1/stats/votes.py); `gain` is maj@k less the accuracy of one sample, paired, in
percentage points; `thinking_tokens` are those of k samples together, k times the mean; `key` is the directory
scores/<key>.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from s1.report.findings import AtK, Findings, Measured
from s1.report.table import SHARE_DECIMALS, csv_text, named, rounded
from s1.stats.interval import Estimate

PP_DECIMALS = 2


def samples_csv(findings: Findings) -> str | None:
    """The whole file; None if no point has several samples."""
    rows = [
        {**name, **dict(_numbers(point, each))}
        for name, point in zip(named(findings), findings.points(), strict=True)
        for each in point.at_k
    ]
    return csv_text(rows) if rows else None


def _numbers(point: Measured, each: AtK) -> Iterator[tuple[str, Any]]:
    yield "n", point.questions
    yield "samples", point.samples
    yield "k", each.k
    yield from _columns("pass", each.passed, SHARE_DECIMALS)
    yield "pass_method", each.passed.method
    yield from _columns("maj", each.majority, SHARE_DECIMALS)
    yield "maj_method", each.majority.method
    yield from _columns("gain", each.gain, PP_DECIMALS)
    tokens = point.thinking_tokens_of(each.k)
    yield "thinking_tokens", rounded(tokens.value, 1)
    yield "thinking_lo", rounded(tokens.lo, 1)
    yield "thinking_hi", rounded(tokens.hi, 1)
    yield "valid", "yes" if point.valid else "no"
    yield "key", point.key
    yield "digest", point.digest


def _columns(name: str, estimate: Estimate, decimals: int) -> Iterator[tuple[str, float | None]]:
    yield name, rounded(estimate.value, decimals)
    yield f"{name}_lo", rounded(estimate.lo, decimals)
    yield f"{name}_hi", rounded(estimate.hi, decimals)
