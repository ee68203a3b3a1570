"""Overhead of a SLURM queue, on the cluster that the tests start: `python benchmarks/slurm.py [--repeats 3]`.

    submit    from the command to the prompt, for 1,000 points: of the laptop model, and of stages that share nothing
    idle      between the record of a stage and the first line of the script of the one that waits for it
    start     from there to the stage function, and what of it a bare `import sweep.worker.run` takes

Needs Debian's packages of SLURM (tests/slurm). Writes results/benchmarks/slurm.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from sweep.core.launch import JobSettings, Launch, LaunchKind  # noqa: E402
from sweep.core.pipeline import Graph, Workers  # noqa: E402
from sweep.core.stage import CodePolicy, Resources, Stage  # noqa: E402
from sweep.plan.graph import plan  # noqa: E402
from sweep.slurm import lifecycle  # noqa: E402
from sweep.slurm.submission import SubmissionDirectory  # noqa: E402
from sweep.store.directory import Store, read_json  # noqa: E402
from tests.support.cluster import Cluster  # noqa: E402
from tests.support.toy_queue import Make  # noqa: E402

POINTS = 1000
SCAN = ("budget.max_thinking_tokens=range(1,251)", "seed=0,1,2,3")
CHAIN = 8  # stages, each waiting for the one before
LAUNCH = Launch(LaunchKind.SLURM, defaults=JobSettings(cpus=16, memory_gib=8, minutes=10))


@dataclass(frozen=True)
class Submitted:
    seconds: float
    jobs: int
    elements: int
    stages: int


def send(store: Store, product: Stage) -> tuple[SubmissionDirectory, Submitted]:
    """Plan, write and submit a stage and all below it, as the command does."""
    began = time.monotonic()
    graph = Graph(
        name="bench",
        artifact=product,
        table=lambda directory: [],
        workers=Workers(2, 1),
        estimates={},
        on_finished=lambda stage, path: None,
        points=POINTS,
        remarks=lambda summaries: [],
        launch=LAUNCH,
    )
    work = plan([product], store.is_done)
    jobs = lifecycle.queue_jobs(graph, work)[:-1]
    order = lifecycle.SubmissionRequest("bench", (), Path.cwd(), store.root / "results")
    directory = SubmissionDirectory(lifecycle.write_submission(graph, work, jobs, store, order))
    lifecycle.send_in_waves(directory)
    elements = sum(len(job.elements) for job in jobs)
    return directory, Submitted(time.monotonic() - began, len(jobs), elements, len(work.needed))


def stage(name: str, number: int, *inputs: Stage, cpus: int = 1) -> Stage:
    """Stages that ask for different things are jobs of their own."""
    given = {"of": inputs} if inputs else {}
    run, resources = "tests.support.toy_queue:stamp", Resources(cpus=cpus)
    return Stage(name, 1, Make(number), run, given, resources=resources, code=CodePolicy.EXPENSIVE)


def unshared(home: Path) -> Submitted:
    """1,000 points that share a start: three arrays of 1,000 elements."""
    start = stage("base_model", 0)
    points = [stage("points", n, start) for n in range(POINTS)]
    scores = [stage("scores", n, each, cpus=2) for n, each in enumerate(points)]
    directory, submitted = send(Store(home / "store"), stage("report", 0, *scores))
    lifecycle.cancel_submission(directory)
    return submitted


def scanned(home: Path) -> Submitted:
    """1,000 points of the laptop model, by the command line, Hydra and all."""
    places = [f"store={home}/store", f"results={home}/results"]
    command = [sys.executable, "-m", "sweep", *SCAN, *places, "track=off", "launch=slurm", "yes=true", "-m"]
    began = time.monotonic()
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    (path,) = (home / "store" / "submissions").iterdir()
    directory = SubmissionDirectory(path)
    jobs = directory.read().jobs
    lifecycle.cancel_submission(directory)
    elements = [element for job in jobs for element in job.elements]
    return Submitted(seconds, len(jobs), len(elements), sum(len(each.stages) for each in elements))


def chained(cluster: Cluster, home: Path) -> tuple[list[float], list[float]]:
    """Idle seconds between the stages of a chain, and seconds from the script to the stage function."""
    store, chain = Store(home / "store"), [stage("link", 0)]
    while len(chain) < CHAIN:
        chain.append(stage("link", len(chain), chain[-1], cpus=1 + len(chain) % 2))
    send(store, chain[-1])
    cluster.wait_until(lambda: store.is_done(chain[-1]), "the chain is done", 300)
    directories = [store.directory(each) for each in chain]
    seen = [read_json(each.record_file)["summary"] for each in directories]
    published = [each.record_file.stat().st_mtime for each in directories]
    idle = [here["script_began"] - before for here, before in zip(seen[1:], published, strict=False)]
    return idle, [each["reached"] - each["script_began"] for each in seen]


def importing() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import sweep.worker.run"], cwd=PROJECT, check=True)
    return time.monotonic() - began


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def report(rows: Sequence[tuple[str, str]], repeats: int) -> str:
    lines = [
        "# What a queue adds",
        "",
        f"`python benchmarks/slurm.py --repeats {repeats}`: median [least, most] over the repeats, on {os.cpu_count()}"
        f" cores (load average {os.getloadavg()[0]:.1f} at the end); SLURM with all its daemons on the same cores.",
        "",
        "| what | measured |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    cluster = Cluster()
    try:
        cluster.start()
        os.environ.update(cluster.environment)
        homes = [Path(tempfile.mkdtemp()) for _ in range(3 * repeats)]
        scans = [scanned(home) for home in homes[:repeats]]
        plain = [unshared(home) for home in homes[repeats : 2 * repeats]]
        chains = [chained(cluster, home) for home in homes[2 * repeats :]]
    finally:
        cluster.stop()
    rows = []
    for name, found in (("the laptop model, from the command line", scans), ("stages that share nothing", plain)):
        shape = f"{found[0].stages:,} stages, {found[0].elements:,} elements, {found[0].jobs} calls of sbatch"
        rows.append((f"submit {POINTS:,} points: {name}", f"{spread([each.seconds for each in found])} s; {shape}"))
    rows.append(("idle between dependent stages", f"{spread([s for idle, _ in chains for s in idle])} s"))
    rows.append(("from the script to the stage function", f"{spread([s for _, start in chains for s in start])} s"))
    rows.append(("of which `import sweep.worker.run`", f"{spread([importing() for _ in range(5)])} s"))
    text = report(rows, repeats)
    (PROJECT / "results" / "benchmarks" / "slurm.md").write_text(text, encoding="utf-8")
    print(text)
    print(json.dumps([vars(each) for each in (*scans, *plain)]))


if __name__ == "__main__":
    main()
