"""Parses what squeue, sacct and scontrol print about jobs. Does no I/O.

Lines of another form, such as a site's greeting, are skipped. Names are "17" for a single job and "17_3" for an element
of an array; SLURM also writes "17_[0-2,5%4]" for several elements.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sweep.slurm.status import NEVER_SATISFIED, SlurmInfo, expand_elements

SQUEUE_FIELDS = "%i|%T|%M|%r|%N|%S"  # name, state, elapsed, reason, nodes, start: expected, of a pending job
RESTART_FIELDS = "JobArrayID:40,RestartCnt:10"  # --format has no letter for it
SACCT_FIELDS = "JobID,State,Elapsed,ExitCode,NodeList,MaxRSS,Submit,Reason"
STATE = re.compile(r"[A-Z][A-Z_]*")
NO_NODES = ("None assigned", "(null)")
NO_TIMES = ("N/A", "Unknown", "None", "")
GIB = {"K": 2.0**-20, "M": 2.0**-10, "G": 1.0, "T": 2.0**10, "P": 2.0**20, "": 2.0**-30}


def job_of(name: str) -> str | None:
    """The job ID "17" of 17, 17_3 or 17_[0-2]; None if this is not an ID."""
    found = re.fullmatch(r"(\d+)(?:_(?:\d+|\[[\d,:%-]+\]))?", name, re.ASCII)
    return found[1] if found else None


def parse_squeue(text: str, ids: Collection[str]) -> dict[str, SlurmInfo] | None:
    """Pending and running elements of these jobs, from rows of SQUEUE_FIELDS.

    None if a row of one of these jobs is incomplete: a job without a state must not count as ended.
    """
    rows = [row for row in map(_fields, text.splitlines()) if len(row) > 1 and job_of(row[0]) in ids]
    if not all(len(row) == 6 and STATE.fullmatch(row[1]) for row in rows):
        return None
    return {
        name: SlurmInfo(state, reason, elapsed, nodes, starts_at=_time(start))
        for name, state, elapsed, reason, nodes, start in rows
    }


def parse_restarts(text: str) -> dict[str, int]:
    """How often each element in the queue was restarted, from rows of RESTART_FIELDS."""
    rows = [line.split() for line in text.splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and job_of(row[0]) and row[1].isdecimal()}


def parse_sacct(text: str) -> dict[str, SlurmInfo]:
    """Elements by the last attempt of each, from rows of SACCT_FIELDS with duplicates and steps.

    Earlier attempts count as restarts. The peak memory is the largest of all steps of all attempts.
    """
    attempts: dict[str, list[Sequence[str]]] = {}
    peaks: dict[str, float] = {}
    for row in map(_fields, text.splitlines()):
        name, _, step = row[0].partition(".")
        if len(row) != 8 or not row[1] or job_of(name) is None:
            continue
        if not step:
            attempts.setdefault(name, []).append(row)
        elif (peak := _gib(row[5])) is not None:
            peaks[name] = max(peak, peaks.get(name, 0.0))
    found: dict[str, SlurmInfo] = {}
    for name, rows in sorted(attempts.items(), key=lambda each: "[" not in each[0]):  # an element's own row counts
        last = sorted(rows, key=lambda row: row[6])[-1]
        seen = _of_sacct(last, len(rows) - 1, peaks.get(name))
        found.update((each, seen) for each in expand_elements(name))
    return found


def _of_sacct(row: Sequence[str], restarts: int, peak_memory_gib: float | None) -> SlurmInfo:
    _, words, elapsed, exit_code, nodes, _, _, waited_for = row
    state, _, cancelled_by = words.partition(" by ")
    is_by_slurm = state == "CANCELLED" and not cancelled_by and waited_for.startswith("Dependency")
    return SlurmInfo(
        state.split()[0],
        NEVER_SATISFIED if is_by_slurm else "",  # sacct's reason is why it waited last, whoever cancelled it
        elapsed=elapsed,
        nodes="" if nodes in NO_NODES else nodes,
        exit_code=exit_code,
        cancelled_by=cancelled_by,
        restarts=restarts,
        peak_memory_gib=peak_memory_gib,
    )


def parse_scontrol(text: str, job_id: str) -> dict[str, SlurmInfo]:
    """Elements of one job, from `scontrol show job --oneliner`."""
    return dict(each for line in text.splitlines() for each in _of_scontrol(line, job_id))


def _of_scontrol(line: str, job_id: str) -> Iterator[tuple[str, SlurmInfo]]:
    facts = {name: value for name, _, value in (word.partition("=") for word in line.split() if "=" in word)}
    own_id = facts.get("JobId", "")
    if "JobState" not in facts or not (own_id.isascii() and own_id.isdecimal()):
        return
    reason, nodes, restarts = (facts.get(name, "") for name in ("Reason", "NodeList", "Restarts"))
    seen = SlurmInfo(
        facts["JobState"],
        "" if reason == "None" else reason,
        facts.get("RunTime", ""),
        "" if nodes in NO_NODES else nodes,
        exit_code=facts.get("ExitCode", ""),
        starts_at=_time(facts.get("StartTime", "")),
        restarts=int(restarts) if restarts.isdecimal() else 0,
    )
    name = f"{job_id}_[{facts['ArrayTaskId']}]" if "ArrayTaskId" in facts else job_id
    yield from ((each, seen) for each in expand_elements(name))


@dataclass(frozen=True)
class Association:
    """Limits of a user in one account, as sacctmgr prints them; "" for none."""

    default_qos: str
    max_submit_jobs: str


def associations_of(text: str, account: str | None) -> list[Association]:
    """The associations with an account, or all, from lines Account|DefaultQOS|MaxSubmitJobs."""
    rows = [row for row in map(_fields, text.splitlines()) if len(row) == 3]
    return [Association(*row[1:]) for row in rows if account in (None, row[0])]


def _fields(row: str) -> list[str]:
    return [each.strip() for each in row.split("|")]


def _time(text: str) -> str:
    return "" if text in NO_TIMES else text


def _gib(text: str) -> float | None:
    """Memory as SLURM writes it, 219740K, in GiB; None if it is not recorded."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)", text, re.ASCII)
    return float(found[1]) * GIB[found[2]] if found else None
