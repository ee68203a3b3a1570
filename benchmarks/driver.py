"""What our generation loop costs by itself: `python benchmarks/driver.py [--repeats 3]`.

A scan at real proportions on an engine that costs nothing: 500 questions, budgets up to 16,384 thinking tokens, answers
of 300, 256 traces at once. Policies, rollout and continuation store are those of a real run, and the store is on disk.
Three figures for each number of budgets, each from a process of its own:

    CPU seconds per token that the engine sampled, and the peak memory of the process;
    CPU seconds per token to open the store again, and to serve all answers from it.

Writes results/benchmarks/driver.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from s1.config.schema import Budget, Forcing
from s1.generate.continuations import Continuations
from s1.generate.engine import DELTA_TOKENS, Delta, GenerationRequest, RequestEnd, Sampling, refuse_unservable
from s1.generate.methods.forcing import BudgetForcing
from s1.generate.rollout import Rollout, TraceJob
from s1.generate.trace import new_trace
from s1.models.thinking_format import ThinkingFormatIds

PROJECT = Path(__file__).resolve().parents[1]
BUDGETS = (1, 12, 40)
PROMPT_TOKENS = 150
ANSWER_TOKENS = 300
VOCABULARY = 151_936  # Qwen2.5
CONTEXT_TOKENS = 32_768
SLOTS = 256
# Delimiters of s1's thinking format, with ids of Qwen2.5: <|im_start|>think\n and so on.
START, END = 151_644, 151_645
FORMAT = ThinkingFormatIds(
    thinking_start=(START, 27963, 198),
    thinking_stops=((START,),),
    thinking_end=(START, 9217, 198),
    forced_end=(START, 9217, 198, 19357, 21806, 25),
    answer_stops=((END,),),
    newline=(198,),
    newline_final=frozenset({198}),
    written_starts=((START, 27963, 198),),
    written_ends=((START, 9217, 198),),
)


@dataclass(frozen=True)
class Case:
    """The size of one scan."""

    questions: int
    thinking_tokens: int  # of the largest budget
    budgets: int


@dataclass(frozen=True)
class Measured:
    """One process."""

    budgets: int
    tokens: int  # that the engine sampled
    cpu_seconds: float  # of the whole scan, without start-up
    peak_mib: float
    start_mib: float  # before the scan: Python and our modules
    open_cpu_seconds: float  # to open the store of that scan again
    serve_cpu_seconds: float  # to run the scan again from it


class FreeEngine:
    """Samples random tokens at no cost, the first ones that were asked for first, and never a stop."""

    vocabulary = VOCABULARY
    context_tokens = CONTEXT_TOKENS
    seeds_positions = True
    kernels: Mapping[str, str] = {}

    def __init__(self) -> None:
        rng = random.Random(0)
        self._texts = [tuple(rng.choices(range(START), k=DELTA_TOKENS)) for _ in range(997)]
        self._waiting: deque[GenerationRequest] = deque()
        self._open: list[tuple[GenerationRequest, int]] = []  # and how many tokens it still lacks
        self._written = 0

    def add(self, request: GenerationRequest) -> None:
        refuse_unservable(request, self.vocabulary, self.context_tokens)
        self._waiting.append(request)

    def step(self) -> list[Delta]:
        while self._waiting and len(self._open) < SLOTS:
            request = self._waiting.popleft()
            self._open.append((request, request.max_tokens))
        deltas = [self._delta(request, left) for request, left in self._open]
        self._open = [(request, left - DELTA_TOKENS) for request, left in self._open if left > DELTA_TOKENS]
        return deltas

    @property
    def is_idle(self) -> bool:
        return not (self._open or self._waiting)

    def close(self) -> None: ...

    def _delta(self, request: GenerationRequest, left: int) -> Delta:
        self._written += 1
        text = self._texts[self._written % len(self._texts)]
        return Delta(request, text) if left > DELTA_TOKENS else Delta(request, text[:left], RequestEnd(None))


def jobs(case: Case, store: Continuations) -> Iterator[TraceJob]:
    """The traces of all budgets, in the order in which a worker has them: budget by budget."""
    rng = random.Random(1)
    prompts = [tuple(rng.choices(range(START), k=PROMPT_TOKENS)) for _ in range(case.questions)]
    for number in range(1, case.budgets + 1):
        budget = Budget(
            forcing=Forcing.BUDGET,
            max_thinking_tokens=case.thinking_tokens * number // case.budgets,
            min_thinking_tokens=0,
            waits=0,
            continuation="Wait",
            answer_tokens=ANSWER_TOKENS,
        )
        policy = BudgetForcing(budget, FORMAT, (14190,), CONTEXT_TOKENS)
        for question, prompt in enumerate(prompts):
            trace = new_trace(tuple(prompt))
            yield TraceJob(question, str(number), policy, trace, Sampling(0.0), question, store)


def scan(case: Case, store: Continuations) -> int:
    """Run all traces and keep them, as a worker does until a budget is complete; returns the engine's tokens."""
    rollout = Rollout(FreeEngine())
    closed = [close for _, close in rollout.run(jobs(case, store))]
    assert len(closed) == case.questions * case.budgets
    return rollout.usage.engine_tokens.total()


def measured(case: Case) -> Measured:
    """Run the scan in this process, then open its store in another and run it again."""
    with tempfile.TemporaryDirectory() as folder:
        start_mib, start = peak_mib(), time.process_time()
        with Continuations(Path(folder), VOCABULARY) as store:
            tokens = scan(case, store)
        spent, peak = time.process_time() - start, peak_mib()
        again = _in_process("reopen", case, "--folder", folder)
    return Measured(case.budgets, tokens, spent, peak, start_mib, again["open"], again["serve"])


def reopened(case: Case, folder: Path) -> dict[str, float]:
    """CPU seconds to open a store, and to serve a scan from it."""
    start = time.process_time()
    with Continuations(folder, VOCABULARY) as store:
        opened = time.process_time()
        assert scan(case, store) == 0, "the store lacks tokens"
    return {"open": opened - start, "serve": time.process_time() - opened}


def peak_mib() -> float:
    """The largest memory of this process so far (ru_maxrss is in KiB on Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _in_process(part: str, case: Case, *options: str) -> dict[str, Any]:
    sizes = [f"--questions={case.questions}", f"--thinking-tokens={case.thinking_tokens}", f"--budgets={case.budgets}"]
    command = [sys.executable, __file__, part, *sizes, *options]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout)


# ----------------------------------------------------------------------------------------------------- the page


def page(case: Case, runs: list[Measured]) -> str:
    """The Markdown page: medians, with the spread of the CPU time."""
    repeats = len(runs) // len({run.budgets for run in runs})
    lines = [
        "# What the generation loop costs",
        "",
        "`make bench-driver`",
        "",
        f"{case.questions} questions, budgets evenly up to {case.thinking_tokens:,} thinking tokens, answers of"
        f" {ANSWER_TOKENS}, prompts",
        f"of {PROMPT_TOKENS}, {SLOTS} traces at once, on an engine that costs nothing. No text is decoded and no"
        " traces.jsonl is written.",
        f"Microseconds are CPU time. Medians of {repeats}, in brackets the extremes. Commit {commit()}, Python"
        f" {platform.python_version()}, {processor()}.",
        "",
        "| budgets | sampled tokens | us per sampled token | peak memory, MiB | of these before the scan"
        " | to open the store again, us per token | to serve all from it, us per token |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for budgets in sorted({run.budgets for run in runs}):
        lines.append(row([run for run in runs if run.budgets == budgets]))
    return "\n".join([*lines, ""])


def row(runs: list[Measured]) -> str:
    """One line of the table: the runs of one number of budgets."""
    first, tokens = runs[0], runs[0].tokens
    generating = [1e6 * run.cpu_seconds / tokens for run in runs]
    opening = [1e6 * run.open_cpu_seconds / tokens for run in runs]
    serving = [1e6 * run.serve_cpu_seconds / tokens for run in runs]
    peak = statistics.median(run.peak_mib for run in runs)
    start = statistics.median(run.start_mib for run in runs)
    return (
        f"| {first.budgets} | {tokens:,} | {statistics.median(generating):.2f} ({min(generating):.2f} to"
        f" {max(generating):.2f}) | {peak:.0f} | {start:.0f} | {statistics.median(opening):.3f}"
        f" | {statistics.median(serving):.2f} |"
    )


def commit() -> str:
    """The commit, with a mark if files differ from it."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout.strip()


def processor() -> str:
    """The processor's name, from Linux if possible."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="all", choices=["all", "case", "reopen"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--thinking-tokens", type=int, default=16_384)
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS))
    parser.add_argument("--folder", type=Path, help="of a store, for `reopen`")
    given = parser.parse_args()
    case, *others = [Case(given.questions, given.thinking_tokens, budgets) for budgets in given.budgets]
    if given.part == "case":
        print(json.dumps(asdict(measured(case))))
    elif given.part == "reopen":
        print(json.dumps(reopened(case, given.folder)))
    else:
        cases = [case, *others] * given.repeats  # in turn, so that drift of the machine affects all equally
        runs = [Measured(**_in_process("case", each)) for each in cases]
        target = PROJECT / "results" / "benchmarks" / "driver.md"
        target.write_text(page(case, runs), encoding="utf-8")
        print(target.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
