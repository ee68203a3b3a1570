"""Plain words for how a job ended or why it waits, and what to do about it. Does no I/O."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from sweep.core.launch import Launch
from sweep.slurm.jobs import SlurmJob
from sweep.slurm.sbatch import requested_resources
from sweep.slurm.status import ElementState, SlurmInfo

NEARLY_ALL = 0.9  # a job killed with this share of its memory in use was killed for it
INTERRUPTED = 75  # exit status of slurm/job.sh: the job was to go back into the queue
NOT_STARTED = 53  # signal that SLURM reports when it cannot open the log or enter the working directory
EXCLUDE = "--exclude="
SHELL_SIGNALS = 128  # a shell reports the end of a program by signal N as status 128 + N, and sacct subtracts the 128

REASONS = {  # squeue's reason codes
    "None": "not looked at by the scheduler yet",
    "Priority": "other jobs are first",
    "Resources": "the next to start, waits for nodes to become free",
    "Dependency": "waits for other jobs",
    "DependencyNeverSatisfied": "waits for a job that failed and can never start. Cancel it, then resume",
    "BeginTime": "may not start before a set time",
    "JobArrayTaskLimit": "as many elements of its array run as launch.throttle allows",
    "JobHeldUser": "held by a user. To release it: scontrol release JOB",
    "JobHeldAdmin": "held by an administrator: ask them",
    "JobHoldMaxRequeue": "held, as it was put back too often. To release it: scontrol release JOB",
    "ReqNodeNotAvail": "a node that it needs is down, drained or reserved",
    "NodeDown": "a node that it needs is down",
    "Nodes": "nodes that it needs are down, drained or reserved",
    "PartitionDown": "its partition accepts jobs but starts none now",
    "PartitionInactive": "its partition is inactive",
    "PartitionNodeLimit": "asks for more nodes than its partition allows",
    "PartitionTimeLimit": "asks for more time than its partition allows",
    "Licenses": "waits for a license",
    "Reservation": "waits for its reservation to begin",
    "BadConstraints": "no node has what it asks for",
    "InvalidAccount": "its account is not valid: launch.defaults.account",
    "InvalidQOS": "its QOS is not valid: launch.defaults.qos",
    "Cleaning": "the end of its last run is still being processed",
    "launch failed requeued held": "held, as a node could not start it. To release it: scontrol release JOB",
    "Prolog": "its nodes are being prepared",
}
LIMITS = {  # beginnings of the codes of limits
    "Assoc": "a limit of the account is reached",
    "QOS": "a limit of the QOS is reached",
    "Max": "a limit of the account or the QOS is reached",
    "Grp": "a limit of the account or the QOS is reached",
}


@dataclass(frozen=True)
class Asked:
    """The limits of a job, and the fields that set them."""

    minutes: int | None  # None: the cluster's default
    memory_gib: int | None  # of a node; 0: all that it has; None: the cluster's default
    settings: str  # section of the configuration for this kind of job: launch.generate
    memory_field: str
    sbatch: tuple[str, ...] = ()  # further options, its own or those of launch.defaults


def asked_by(job: SlurmJob, launch: Launch) -> Asked:
    """What a job asked for. Memory that the stage itself sets is not a field: an option of sbatch overrides it."""
    asked = requested_resources(job.resources, launch)
    settings = f"launch.{asked.script}"
    memory = f"{settings}.memory_gib_per_gpu" if asked.devices else f"{settings}.memory_gib"
    options = launch.settings_of(asked.script).sbatch or ()
    if job.resources.memory_gib:
        others = [each for each in options if not each.startswith("--mem=")]
        memory = f"--mem in {settings}.sbatch" + (f", keep {_list(others)} there," if others else "")
    return Asked(asked.minutes, asked.memory_gib, settings, memory, options)


def why_waiting(reason: str) -> str:
    """squeue's reason in plain words, with its own word: "other jobs are first (Priority)"."""
    code = reason.partition(",")[0].strip()
    words = REASONS.get(code) or next((words for start, words in LIMITS.items() if code.startswith(start)), "")
    return f"{words} ({code})" if words and code != "None" else words or reason


def how_ended(seen: SlurmInfo, user: str = "") -> str:
    """SLURM's word for how a job ended, with the exit status or signal, or the user who cancelled it."""
    if seen.state == "CANCELLED" and (who := user or seen.cancelled_by):
        return f"CANCELLED by {who}"
    status, number = _exit_code(seen)
    if seen.state != "FAILED" or not (status or number):
        return seen.state
    return f"FAILED signal {number}" if number else f"FAILED exit {status}"


def what_to_do(state: ElementState, seen: SlurmInfo | None, asked: Asked, message: str = "") -> str:
    """What to do about an element that is not done and not in the queue; "" if there is nothing to do.

    `message`: the error that its stage recorded, if any.
    """
    if state is ElementState.BLOCKED:
        return (
            "A stage that it needs failed or is missing. Repair that one first, if it is not done by now, then resume."
        )
    if state is ElementState.LOST:
        return "Ended, state unknown: SLURM keeps no record of it, and it left none. resume submits it again."
    if state is ElementState.UNSENT:
        return "resume submits it."
    if state is ElementState.CANCELLED:
        return "resume submits it again."
    if state is not ElementState.FAILED:
        return ""
    if message and seen is not None and _exit_code(seen)[0] == INTERRUPTED:
        return ""  # slurm/job.sh ended it for good, and the message says why and what to do
    return _after_failure(seen, asked) if seen is not None else "See the log, repair the cause, then resume."


def _after_failure(seen: SlurmInfo, asked: Asked) -> str:
    again = "and give the command again."
    if seen.state == "OUT_OF_MEMORY" or _was_killed(seen):
        return _about_memory(seen, asked)
    if seen.state == "TIMEOUT":
        limit = f"its limit of {asked.minutes} min" if asked.minutes else "the cluster's time limit"
        fields = f"Raise {asked.settings}.minutes, or launch.signal_seconds if saving takes longer,"
        return f"Stopped at {limit} before it was saved. {fields} {again}"
    if seen.state in ("NODE_FAIL", "BOOT_FAIL"):
        if not seen.nodes:
            return "Lost its node. resume submits it again."
        return f"Lost node {seen.nodes}. resume submits it again. {_to_avoid(seen.nodes, asked)} {again}"
    if seen.state == "PREEMPTED":
        return "Another job took its place, and it was not put back into the queue. resume submits it again."
    if seen.state == "DEADLINE":
        return f"It cannot end before its deadline. Set a later --deadline in {asked.settings}.sbatch {again}"
    if seen.state == "COMPLETED":
        return "Ended without a record of its stages. See the log, then resume."
    status, number = _exit_code(seen)
    if number == NOT_STARTED:
        return "SLURM could not open its log or its directory on the node. Check that the store is mounted there."
    if status == INTERRUPTED:
        return "Interrupted and saved, but not put back into the queue. resume continues it."
    return "See the log, repair the cause, then resume."


def _to_avoid(nodes: str, asked: Asked) -> str:
    """The override that excludes nodes, with the options that it would otherwise replace."""
    excluded = [each.removeprefix(EXCLUDE) for each in asked.sbatch if each.startswith(EXCLUDE)]
    if file := next((each for each in excluded[-1:] if "/" in each), None):
        return f"To avoid the node, add it to {file}"
    others = [each for each in asked.sbatch if not each.startswith(EXCLUDE)]
    options = [*others, EXCLUDE + ",".join([*excluded[-1:], nodes])]
    return f"To avoid the node, add {shlex.quote(f'{asked.settings}.sbatch={_list(options)}')}"


def _list(options: Sequence[str]) -> str:
    """A list as on the command line."""
    return json.dumps(options, ensure_ascii=False, separators=(",", ":"))


def _was_killed(seen: SlurmInfo) -> bool:
    status, number = _exit_code(seen)
    return signal.SIGKILL in (number, status, status - SHELL_SIGNALS)


def _about_memory(seen: SlurmInfo, asked: Asked) -> str:
    """The peak beside the limit, and the field to raise."""
    peak, limit = seen.peak_memory_gib, asked.memory_gib
    had = f"{limit} GiB" if limit else "all memory of its node" if limit == 0 else "the cluster's default"
    text = f"It had {had}; its peak is not recorded."
    if peak is not None:
        text = f"Its largest task used {peak:.1f} GiB of {had}."
    if seen.state != "OUT_OF_MEMORY":
        is_full = peak is not None and limit and peak >= NEARLY_ALL * limit
        text = f"Killed, {'' if is_full else 'perhaps '}for lack of memory. {text}"
    nodes = f"Choose nodes with more ({asked.settings}.partition, {asked.settings}.constraint)"
    raised = nodes if limit == 0 else f"Raise {asked.memory_field}"
    return f"{text} {raised} and give the command again."


def _exit_code(seen: SlurmInfo) -> tuple[int, int]:
    """Exit status and signal; 0 where unknown."""
    status, _, number = seen.exit_code.partition(":")
    return (int(status) if status.isdecimal() else 0, int(number) if number.isdecimal() else 0)
