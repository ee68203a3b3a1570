"""What planning jobs of a large sweep takes: `python benchmarks/planning.py [--repeats 3]`.

For 1,000, 5,000 and 10,000 points that share one start (two stages each, and a report): CPU seconds of the plan and of
its SLURM jobs, and the most memory of the process. A new process for each. Writes results/benchmarks/planning.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from sweep.core.stage import CodePolicy, Resources, Stage  # noqa: E402
from sweep.plan.graph import plan  # noqa: E402
from sweep.slurm.jobs import plan_jobs  # noqa: E402
from tests.support.toy_queue import Make  # noqa: E402

POINTS = (1_000, 5_000, 10_000)
MOST_ELEMENTS = 1001  # of an array, as on a cluster with SLURM's defaults


def stage(name: str, number: int, *inputs: Stage, cpus: int = 1) -> Stage:
    given = {"of": inputs} if inputs else {}
    run, resources = "tests.support.toy_queue:stamp", Resources(cpus=cpus)
    return Stage(name, 1, Make(number), run, given, resources=resources, code=CodePolicy.EXPENSIVE)


def planned(points: int) -> dict[str, float]:
    """CPU seconds of the plan and of its jobs, and memory in MiB, of this process."""
    start = stage("base_model", 0)
    scores = [stage("scores", n, stage("points", n, start), cpus=2) for n in range(points)]
    report = stage("report", 0, *scores)
    began = time.process_time()
    work = plan([report], lambda each: False)
    ordered = time.process_time()
    jobs = plan_jobs(work.units, MOST_ELEMENTS)
    return {
        "plan_s": ordered - began,
        "jobs_s": time.process_time() - ordered,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "jobs": len(jobs),
    }


def measured(points: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--points", str(points)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def row(points: int, repeats: int) -> str:
    found = [measured(points) for _ in range(repeats)]
    plan_s, jobs_s, memory_mib = (
        statistics.median(each[name] for each in found) for name in ("plan_s", "jobs_s", "memory_mib")
    )
    per_point_us = 1e6 * (plan_s + jobs_s) / points
    return (
        f"| {points:,} | {plan_s:.2f} | {jobs_s:.2f} | {per_point_us:.0f} | {memory_mib:.0f} | {found[0]['jobs']:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--points", type=int, help="measure this many in this process, and print JSON")
    given = parser.parse_args()
    if given.points:
        print(json.dumps(planned(given.points)))
        return
    lines = [
        "# Planning a large sweep",
        "",
        f"`python benchmarks/planning.py --repeats {given.repeats}`: medians, on {os.cpu_count()} cores (load average"
        f" {os.getloadavg()[0]:.1f} at the start). Points share one start; each has two stages.",
        "",
        "| points | plan, CPU s | jobs, CPU s | us per point | memory, MiB | calls of sbatch |",
        "|---|---|---|---|---|---|",
        *(row(points, given.repeats) for points in POINTS),
        "",
    ]
    (PROJECT / "results" / "benchmarks" / "planning.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
