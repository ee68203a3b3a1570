"""`make faults`: run every fault of the table; exit status 1 if one is silent or leaves damage.

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from sweep.core.provenance import PROJECT
from tests.faults.cases import REAL, Case, sample
from tests.faults.processes import warm_up
from tests.faults.real import real_cases, undisturbed
from tests.faults.suite import Suite, run_all, suite
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
    started, outcomes, there_are = time.monotonic(), [], 0
    for part in _parts(arguments):
        with part() as (here, of, cases):
            there_are += len(cases)
            chosen = _chosen(cases, arguments)
            if arguments.list:
                print("\n".join(case.id for case in chosen))
                continue
            jobs = min(arguments.jobs, len(chosen))
            for outcome in map(here.run, chosen) if jobs <= 1 else run_all(chosen, jobs, of):
                outcomes.append(outcome)
                _show(outcome, is_one=arguments.case is not None)
    if not outcomes:
        return 0 if arguments.list else _nothing(arguments.case)
    text = table(outcomes, there_are, time.monotonic() - started, arguments.jobs)
    print(text)
    if arguments.json:
        arguments.json.write_text(json.dumps([summary(each) for each in outcomes]), encoding="utf-8")
    if arguments.case is None and arguments.sample is None:
        TABLE.parent.mkdir(parents=True, exist_ok=True)
        TABLE.write_text(text, encoding="utf-8")
    return 0 if all(each.is_good for each in outcomes) else 1


Part = tuple[Suite, Callable[[], AbstractContextManager[Suite]], Sequence[Case]]


@contextmanager
def _toy() -> Iterator[Part]:
    with suite() as here:
        yield here, suite, here.cases()


@contextmanager
def _real() -> Iterator[Part]:
    with undisturbed() as shared, shared.suite() as here:
        yield here, shared.suite, list(real_cases(shared.seen))


def _parts(arguments: argparse.Namespace) -> Sequence[Callable[[], AbstractContextManager[Part]]]:
    """The toy's cases, those of a real scan, or both."""
    if arguments.case is not None:
        return (_real,) if arguments.case.startswith(REAL) else (_toy,)
    return (_toy, _real) if arguments.sample is None else (_toy,)


def _chosen(cases: Sequence[Case], arguments: argparse.Namespace) -> list[Case]:
    if arguments.case is not None:
        return [case for case in cases if case.id == arguments.case or fnmatchcase(case.id, arguments.case)]
    return list(cases) if arguments.sample is None else sample(cases, arguments.sample, arguments.seed)


def _nothing(pattern: str | None) -> int:
    print(f"--case {pattern}: no such case. --list shows them all.")
    return 2


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
