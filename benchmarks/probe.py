"""Coverage of a probe's 95% interval: redraw its questions from finished traces, and compare with all of them.

    python benchmarks/probe.py store/traces/KEY [QUESTIONS] [REDRAWS]

The truth is the thinking and answer tokens of all questions of that stage under its own budget. Writes
results/benchmarks/probe.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random
from statistics import mean, median

from s1.lengths import spread

PAGE = Path(__file__).parents[1] / "results" / "benchmarks" / "probe.md"
SEED = 0


def tokens_per_question(traces: Path) -> list[int]:
    """Tokens of the traces of each question."""
    totals: dict[str, int] = {}
    for line in traces.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        totals[row["question_id"]] = (
            totals.get(row["question_id"], 0) + row["thinking_tokens"] + (row["answer_tokens"] or 0)
        )
    return list(totals.values())


def measured(totals: list[int], drawn: int, redraws: int, most: int) -> tuple[int, float]:
    """How many intervals cover the truth, and their median half-width relative to the estimate."""
    rng, covered, widths = Random(SEED), 0, list[float]()
    for _ in range(redraws):
        sample = [float(each) for each in rng.sample(totals, drawn)]
        ends = spread(sample, len(totals), is_finite=True, most=most)
        estimate = mean(sample) * len(totals)
        covered += ends.low * estimate <= sum(totals) <= ends.high * estimate
        widths.append((ends.high - ends.low) / 2)
    return covered, median(widths)


def main() -> None:
    stage = Path(sys.argv[1])
    drawn = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    redraws = int(sys.argv[3]) if len(sys.argv) > 3 else 100
    described = json.loads((stage / "stage.json").read_text(encoding="utf-8"))
    totals = tokens_per_question(stage / "out" / "traces.jsonl")
    covered, width = measured(totals, drawn, redraws, described["identity"]["config"]["context_tokens"])
    line = f"| {described.get('label', '')} | {len(totals)} | {drawn} | {covered} of {redraws} | {width:.0%} |\n"
    head = (
        "# Coverage of a probe's interval\n\n`python benchmarks/probe.py store/traces/KEY`: a row for each run.\n\n"
        "| traces | questions | drawn | intervals that cover the tokens of all | median half-width |\n"
        "|---|---:|---:|---:|---:|\n"
    )
    PAGE.write_text((PAGE.read_text(encoding="utf-8") if PAGE.exists() else head) + line, encoding="utf-8")
    print(line, end="")


if __name__ == "__main__":
    main()
