"""`make faults`: every fault of the table, and what became of it; exit status 1 if one is silent or broken.

python -m tests.faults                     all cases; writes results/benchmarks/faults.md
python -m tests.faults --sample 150        some of every kind, the same ones for the same --seed
python -m tests.faults --case ID           one case (or all whose ids match a pattern with * in it), with its output
python -m tests.faults --list              ids
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from sweep.provenance import PROJECT
from tests.faults.cases import Case, sample
from tests.faults.processes import warm_up
from tests.faults.suite import run_all, suite
from tests.faults.table import summary, table
from tests.faults.trial import Outcome

TABLE = PROJECT / "results" / "benchmarks" / "faults.md"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--sample", type=int, help="how many cases; all without it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", help="the id of one case, or a pattern")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="also write the outcomes there")
    arguments = parser.parse_args(argv)
    warm_up()
    started, outcomes = time.monotonic(), []
    with suite() as here:
        cases = here.cases()
        chosen = _chosen(cases, arguments.case, arguments.sample, arguments.seed)
        if arguments.list:
            print("\n".join(case.id for case in chosen))
            return 0
        jobs = min(arguments.jobs, len(chosen))
        for outcome in map(here.run, chosen) if jobs == 1 else run_all(chosen, jobs):
            outcomes.append(outcome)
            _show(outcome, is_one=arguments.case is not None)
    text = table(outcomes, len(cases), time.monotonic() - started, jobs)
    print(text)
    if arguments.json:
        arguments.json.write_text(json.dumps([summary(each) for each in outcomes]), encoding="utf-8")
    if arguments.case is None and arguments.sample is None:
        TABLE.parent.mkdir(parents=True, exist_ok=True)
        TABLE.write_text(text, encoding="utf-8")
    return 0 if all(each.is_good for each in outcomes) else 1


def _chosen(cases: Sequence[Case], pattern: str | None, size: int | None, seed: int) -> list[Case]:
    if pattern is not None:
        found = [case for case in cases if case.id == pattern or fnmatchcase(case.id, pattern)]
        if not found:
            raise SystemExit(f"--case {pattern}: no such case. --list shows them all.")
        return found
    return list(cases) if size is None else sample(cases, size, seed)


def _show(outcome: Outcome, is_one: bool) -> None:
    if not outcome.is_good:
        print(f"{outcome.verdict.value}  make faults CASE='{outcome.case.id}'")
        for reason in outcome.reasons:
            print(f"    {reason}")
    if is_one:
        print(outcome.output)
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
