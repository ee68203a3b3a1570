"""Who holds something, and whether that process is still there. Decided over values; `this_process` and the like read.

A holder is named by machine, boot, process and start time, and by its SLURM job and restart, so that a process that is
gone is told from one that has got its number, and a machine that was started again from one that cannot be asked.
"""

from __future__ import annotations

import getpass
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

UNKNOWN_START = -1  # a process is there, and its start time cannot be read
CHECKSUM = "checksum"


@dataclass(frozen=True)
class Holder:
    """One process, as its ownership token describes it."""

    token: str  # new for each claim
    host: str
    boot: str | None  # of the kernel: the same until the machine is started again
    machine: str | None  # /etc/machine-id
    pid: int
    started: int  # clock ticks since boot, as in /proc/<pid>/stat
    pid_space: str | None  # in which `pid` is meant: containers count for themselves
    cluster: str | None
    job: str | None  # "17", or "17_3" of an array
    restart: int  # how often SLURM had put the job back into the queue
    user: str
    since: str

    @property
    def is_known(self) -> bool:
        """False for what stands for a token that cannot be read."""
        return bool(self.host)

    def __str__(self) -> str:
        if not self.is_known:
            return "a process that cannot be named, as its worker.json is damaged"
        job = f" job {self.job}" if self.job else ""
        said = f"{self.host} pid {self.pid}{job} of {self.user} since {self.since}"
        return "".join(each for each in said if each.isprintable())  # the file may be anybody's


class Fate(Enum):
    """What became of a holder."""

    AT_WORK = "at work"
    ENDED = "ended"
    UNKNOWN = "cannot be asked from here"
    NO_ANSWER = "SLURM does not answer"


@dataclass(frozen=True)
class Inspect:
    """What may have to be asked to know a holder's fate; each only where it matters."""

    started: Callable[[int], int | None]  # start time of a process of this machine; None: no such process
    booted_at: Callable[[], datetime]
    locks_decide: Callable[[], bool]  # no process of this machine holds the lock file, and locks work here
    locks_decide_everywhere: Callable[[], bool]  # no process of any machine does
    job: Callable[[Holder], Fate]


def fate_of(holder: Holder, here: Holder, ask: Inspect) -> Fate:
    """Whether a holder has ended, as far as the process `here` can know."""
    if not holder.is_known:
        return Fate.ENDED if ask.locks_decide_everywhere() else Fate.UNKNOWN
    if holder.boot is not None and holder.boot == here.boot:
        if holder.pid_space == here.pid_space:
            return _of_process(holder, ask.started(holder.pid))
        if ask.locks_decide():
            return Fate.ENDED
    elif _was_rebooted(holder, here, ask):
        return Fate.ENDED
    if holder.job is None:
        return Fate.UNKNOWN
    if (holder.cluster, holder.job) == (here.cluster, here.job) and holder.restart < here.restart:
        return Fate.ENDED
    return ask.job(holder)


def _of_process(holder: Holder, started: int | None) -> Fate:
    return Fate.AT_WORK if started in (holder.started, UNKNOWN_START) else Fate.ENDED


def _was_rebooted(holder: Holder, here: Holder, ask: Inspect) -> bool:
    """The same machine, started again since. Machines from one image may have one id: the name has to agree too."""
    if holder.machine is None or (holder.machine, holder.host) != (here.machine, here.host):
        return False
    if holder.boot is None or here.boot is None:
        return False
    with suppress(ValueError, TypeError):  # no moment, or one without a time zone
        return datetime.fromisoformat(holder.since) < ask.booted_at()
    return False


def this_process(environment: Mapping[str, str] = os.environ) -> Holder:
    """A new token of this process."""
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
        user=user_name(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def started_at(pid: int) -> int | None:
    """When a process of this machine started, in ticks since boot; None if there is none, or only its exit status."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:  # somebody else's: it is there
        pass
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:  # hidden from us (hidepid), or gone just now, which the next look shows
        return UNKNOWN_START
    return None if words[0] in "ZXx" else int(words[19])


def booted_at() -> datetime:
    """When this machine was started, by its clock."""
    for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
        if line.startswith("btime "):
            return datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(line.split()[1]))
    return datetime.min.replace(tzinfo=UTC)


def holder_text(holder: Holder) -> str:
    """What a token file holds: the holder and a checksum over it."""
    described = asdict(holder)
    return json.dumps({**described, CHECKSUM: _checksum(described)}, indent=2, sort_keys=True) + "\n"


def read_holder(path: Path) -> Holder | None:
    """Of a token file; None if there is none. What cannot be read stands for a holder that is not known."""
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
    """Whether the values are of the kinds that a holder has."""
    numbers = [described[name] for name in ("pid", "started", "restart")]
    words = [described[name] for name in ("token", "host", "user", "since")]
    maybe = [described[name] for name in ("boot", "machine", "pid_space", "cluster", "job")]
    return (
        all(type(each) is int for each in numbers)
        and 0 < described["pid"] < 2**31
        and all(isinstance(each, str) and each for each in words)
        and all(each is None or isinstance(each, str) for each in maybe)
        and re.fullmatch(r"[0-9a-f]+", described["token"]) is not None  # it becomes part of a file's name
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


def user_name() -> str:
    """The account of this process, by name where the machine knows one."""
    with suppress(KeyError, OSError, ImportError):  # a number without a name, in a container
        return getpass.getuser()
    return str(os.getuid())
