"""A SLURM controller with scripted answers, and waits that take no time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweep.errors import InputError
from sweep.slurm import lifecycle
from sweep.slurm.retry import MOST_S, WAITS_S, RetryPolicy, SlurmUnavailable
from sweep.slurm.submission import SubmissionDirectory

AWAY = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"


@dataclass
class Waits:
    """The time that passes in waits, and what was said before each."""

    now: float = 0.0
    lines: list[str] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def retry_policy(self, waits_s: Sequence[float] = WAITS_S) -> RetryPolicy:
        return RetryPolicy(waits_s, MOST_S, self.sleep, self.lines.append, lambda: self.now)


@dataclass
class Controller:
    """Takes jobs by their names; each answer to sbatch and squeue is scripted, and is "ok" once the script is over."""

    answers: list[str]  # ok, lost: taken without an answer; away: not taken, no answer; refused
    jobs: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def sbatch(self, script: Path, arguments: Sequence[str], dependency: str | None) -> str:
        answer = self._answer(f"sbatch {script.stem}")
        (name,) = [line.partition("=")[2] for line in script.read_text().splitlines() if "--job-name" in line]
        if answer == "refused":
            raise InputError("sbatch: invalid partition specified: gpus. Correct the launch settings or the site.")
        if answer != "away":
            assert name not in self.jobs, "sent twice"
            self.jobs[name] = str(101 + len(self.jobs))
        if answer != "ok":
            raise SlurmUnavailable(f"{AWAY}.")
        return self.jobs[name]

    def find_job(self, name: str) -> str | None:
        if self._answer("squeue") != "ok":
            raise SlurmUnavailable(
                "squeue: slurm_load_jobs error: Unable to contact slurm controller (connect failure)."
            )
        return self.jobs.get(name)

    def scancel(self, ids: Sequence[str]) -> None:
        if ids and self._answer("scancel") != "ok":
            raise SlurmUnavailable(
                "scancel: error: Kill job error: Unable to contact slurm controller (connect failure)."
            )
        self.cancelled += ids

    def _answer(self, call: str) -> str:
        self.calls.append(call)
        return self.answers.pop(0) if self.answers else "ok"


Connect = Callable[..., Controller]


def send(directory: SubmissionDirectory) -> dict[str, str]:
    return lifecycle.send_in_waves(directory).ids
