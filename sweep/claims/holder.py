"""Describe the process that holds a stage or store, and decide whether it is still alive.

A holder records machine, boot, process ID, start time, SLURM job and restart count. This separates an ended process
from a newer one with the same ID, and a rebooted machine from an unreachable one. `holder_state` is pure;
`this_process`, `started_at` and `booted_at` read the machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from sweep.accounts import account_name

UNKNOWN_START = -1  # the process exists, but its start time cannot be read
CHECKSUM = "checksum"


@dataclass(frozen=True)
class Holder:
    """One process, as described by its ownership token."""

    token: str  # new for each claim
    host: str
    boot: str | None  # boot ID of the kernel, new after a reboot
    machine: str | None  # /etc/machine-id
    pid: int
    started: int  # clock ticks since boot, as in /proc/<pid>/stat
    pid_space: str | None  # PID namespace: each container numbers its own processes
    cluster: str | None
    job: str | None  # "17", or "17_3" of an array
    restart: int  # how often SLURM had requeued the job
    user: str
    since: str

    @property
    def is_known(self) -> bool:
        """False for the placeholder of an unreadable token."""
        return bool(self.host)

    def __str__(self) -> str:
        if not self.is_known:
            return "an unknown process (its worker.json is damaged)"
        job = f" job {self.job}" if self.job else ""
        text = f"{self.host} pid {self.pid}{job} of {self.user} since {self.since}"
        return "".join(each for each in text if each.isprintable())  # anyone may have written the file


class HolderState(Enum):
    """Whether a holder is still alive."""

    AT_WORK = "at work"
    ENDED = "ended"
    UNKNOWN = "cannot be checked from here"
    NO_ANSWER = "SLURM does not answer"


@dataclass(frozen=True)
class LivenessChecks:
    """Functions that `holder_state` calls, each only when its answer matters."""

    started: Callable[[int], int | None]  # start time of a process of this machine; None: no such process
    booted_at: Callable[[], datetime]
    locks_decide: Callable[[], bool]  # locks work here, and no process of this machine holds the lock file
    locks_decide_everywhere: Callable[[], bool]  # the same for the processes of all machines
    job: Callable[[Holder], HolderState]


def holder_state(holder: Holder, here: Holder, checks: LivenessChecks) -> HolderState:
    """State of a holder, as far as the process `here` can determine it."""
    if not holder.is_known:
        return HolderState.ENDED if checks.locks_decide_everywhere() else HolderState.UNKNOWN
    if holder.boot is not None and holder.boot == here.boot:
        if holder.pid_space == here.pid_space:
            return _process_state(holder, checks.started(holder.pid))
        if checks.locks_decide():
            return HolderState.ENDED
    elif _was_rebooted(holder, here, checks):
        return HolderState.ENDED
    if holder.job is None:
        return HolderState.UNKNOWN
    if (holder.cluster, holder.job) == (here.cluster, here.job) and holder.restart < here.restart:
        return HolderState.ENDED
    return checks.job(holder)


def _process_state(holder: Holder, started: int | None) -> HolderState:
    return HolderState.AT_WORK if started in (holder.started, UNKNOWN_START) else HolderState.ENDED


def _was_rebooted(holder: Holder, here: Holder, checks: LivenessChecks) -> bool:
    """Whether this machine rebooted after the token was written.

    Compares the host name too, because machines cloned from one image may share a machine ID.
    """
    if holder.machine is None or (holder.machine, holder.host) != (here.machine, here.host):
        return False
    if holder.boot is None or here.boot is None:
        return False
    with suppress(ValueError, TypeError):  # not a time, or one without a time zone
        return datetime.fromisoformat(holder.since) < checks.booted_at()
    return False


def this_process(environment: Mapping[str, str] = os.environ) -> Holder:
    """A new token for this process."""
    array = environment.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{environment.get('SLURM_ARRAY_TASK_ID')}" if array else environment.get("SLURM_JOB_ID")
    started = started_at(os.getpid())
    return Holder(
        token=secrets.token_hex(8),
        host=platform.node() or "localhost",
        boot=_text(Path("/proc/sys/kernel/random/boot_id")),
        machine=_text(Path("/etc/machine-id")),
        pid=os.getpid(),
        started=UNKNOWN_START if started is None else started,
        pid_space=_link(Path("/proc/self/ns/pid")),
        cluster=environment.get("SLURM_CLUSTER_NAME") if job else None,
        job=job,
        restart=int(environment.get("SLURM_RESTART_COUNT") or 0),
        user=account_name(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def started_at(pid: int) -> int | None:
    """Start time of a process of this machine, in ticks since boot; None if it does not exist or is a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:  # it exists and belongs to another user
        pass
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:  # hidden (hidepid), or it just ended, which the next call will show
        return UNKNOWN_START
    return None if words[0] in "ZXx" else int(words[19])


def booted_at() -> datetime:
    """Boot time of this machine, by its clock."""
    for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
        if line.startswith("btime "):
            return datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(line.split()[1]))
    return datetime.min.replace(tzinfo=UTC)


def holder_text(holder: Holder) -> str:
    """Content of a token file: the holder and its checksum."""
    described = asdict(holder)
    return json.dumps({**described, CHECKSUM: _checksum(described)}, indent=2, sort_keys=True) + "\n"


def read_holder(path: Path) -> Holder | None:
    """Read a token file; None if it does not exist. An unreadable one gives a holder with `is_known` False."""
    try:
        content = b"a link" if path.is_symlink() else path.read_bytes()
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        content = b"a directory"
    try:
        described: dict[str, Any] = json.loads(content)
        if described.pop(CHECKSUM) == _checksum(described) and _is_sane(described):
            return Holder(**{each.name: described[each.name] for each in fields(Holder)})
    except (ValueError, KeyError, AttributeError, TypeError):
        pass
    token = f"damaged-{hashlib.sha256(content).hexdigest()[:12]}"
    return Holder(token, "", None, None, 0, UNKNOWN_START, None, None, None, 0, "", "")


def _is_sane(described: Mapping[str, Any]) -> bool:
    """Whether the values have the types of a holder's fields."""
    numbers = [described[name] for name in ("pid", "started", "restart")]
    words = [described[name] for name in ("token", "host", "user", "since")]
    maybe = [described[name] for name in ("boot", "machine", "pid_space", "cluster", "job")]
    return (
        all(type(each) is int for each in numbers)
        and 0 < described["pid"] < 2**31
        and all(isinstance(each, str) and each for each in words)
        and all(each is None or isinstance(each, str) for each in maybe)
        and re.fullmatch(r"[0-9a-f]+", described["token"]) is not None  # it becomes part of a file name
    )


def _checksum(described: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def _text(path: Path) -> str | None:
    with suppress(OSError):
        return path.read_text(encoding="utf-8").strip() or None
    return None


def _link(path: Path) -> str | None:
    with suppress(OSError):
        return str(path.readlink())
    return None
