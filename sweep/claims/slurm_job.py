"""Ask SLURM whether the job of a holder has ended: one scontrol call, and one for the cluster name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from sweep.claims.holder import Holder, HolderState

TIMEOUT_S = 30.0
AT_WORK = (
    *("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING", "CONFIGURING"),
    "STOPPING",
)
FORGOTTEN = "Invalid job id"


def state_in_slurm(holder: Holder) -> HolderState:
    """State of the holder's job. UNKNOWN for a job of another cluster: its ID may belong to a different job here."""
    try:
        here = os.environ.get("SLURM_CLUSTER_NAME") or _cluster_of(_ask("scontrol", "show", "config")[1])
        if holder.job is None or holder.cluster is None or holder.cluster != here:
            return HolderState.UNKNOWN if here is not None else HolderState.NO_ANSWER
        status, output = _ask("scontrol", "show", "job", "--oneliner", holder.job)
    except FileNotFoundError:
        return HolderState.UNKNOWN
    except (subprocess.TimeoutExpired, OSError):
        return HolderState.NO_ANSWER
    return state_from_scontrol(status, output, holder.restart)


def state_from_scontrol(status: int, output: str, restart: int) -> HolderState:
    """State from the exit status and output of `scontrol show job`; `restart` is the holder's restart count."""
    if status:
        return HolderState.ENDED if FORGOTTEN in output else HolderState.NO_ANSWER
    lines = [_facts(line) for line in output.splitlines() if "JobState=" in line]
    if not lines:
        return HolderState.NO_ANSWER
    at_work = any(each["JobState"] in AT_WORK and int(each.get("Restarts", "0")) <= restart for each in lines)
    return HolderState.AT_WORK if at_work else HolderState.ENDED


def _facts(line: str) -> Mapping[str, str]:
    words = (word.partition("=") for word in line.split() if "=" in word)
    return {name: value for name, _, value in words}


def _cluster_of(config: str) -> str | None:
    names = [line.partition("=")[2].strip() for line in config.splitlines() if line.startswith("ClusterName")]
    return names[0] if names else None


def _ask(*command: str) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    return done.returncode, done.stdout + done.stderr
