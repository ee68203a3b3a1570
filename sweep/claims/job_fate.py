"""Ask SLURM whether the job that holds something has ended: one call of scontrol, and one for the cluster's name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from sweep.claims.holder import Fate, Holder

TIMEOUT_S = 30.0
AT_WORK = (
    *("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING", "CONFIGURING"),
    "STOPPING",
)
FORGOTTEN = "Invalid job id"


def fate_in_slurm(holder: Holder) -> Fate:
    """Of a holder that names a job. A job of another cluster cannot be asked: its id may be somebody else's here."""
    try:
        here = os.environ.get("SLURM_CLUSTER_NAME") or _cluster_of(_ask("scontrol", "show", "config")[1])
        if holder.job is None or holder.cluster is None or holder.cluster != here:
            return Fate.UNKNOWN if here is not None else Fate.NO_ANSWER
        status, said = _ask("scontrol", "show", "job", "--oneliner", holder.job)
    except FileNotFoundError:
        return Fate.UNKNOWN
    except (subprocess.TimeoutExpired, OSError):
        return Fate.NO_ANSWER
    return fate_by(status, said, holder.restart)


def fate_by(status: int, said: str, restart: int) -> Fate:
    """From what scontrol says of a job, of which the holder is the restart of that number."""
    if status:
        return Fate.ENDED if FORGOTTEN in said else Fate.NO_ANSWER
    lines = [_facts(line) for line in said.splitlines() if "JobState=" in line]
    if not lines:
        return Fate.NO_ANSWER
    at_work = any(each["JobState"] in AT_WORK and int(each.get("Restarts", "0")) <= restart for each in lines)
    return Fate.AT_WORK if at_work else Fate.ENDED


def _facts(line: str) -> Mapping[str, str]:
    words = (word.partition("=") for word in line.split() if "=" in word)
    return {name: value for name, _, value in words}


def _cluster_of(config: str) -> str | None:
    names = [line.partition("=")[2].strip() for line in config.splitlines() if line.startswith("ClusterName")]
    return names[0] if names else None


def _ask(*command: str) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    return done.returncode, done.stdout + done.stderr
