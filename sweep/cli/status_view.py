"""What `sweep status` prints about a submission: lines for a terminal or a pipe, and JSON. Does no I/O.

Elements of one job that are in the same state for the same reason are one row: "17_[0-397]  waiting". A row begins with
job and state, which are never cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from textwrap import wrap

from sweep.slurm.jobs import elements_text
from sweep.slurm.status import TO_RESUBMIT, ElementState, ElementStatus, Verdict, verdict

JSON_VERSION = 1
ROWS_OF_A_JOB = 20  # elements of a job in one state that would need more rows are one row
DONE_RANGES = 24  # characters; what is done in more pieces is counted
LEAST_COLUMNS = 40
INDENT = "    "
ORDER = (
    *TO_RESUBMIT,
    ElementState.UNKNOWN,
    ElementState.RUNNING,
    ElementState.WAITING,
    ElementState.LATER,
    ElementState.DONE,
)
STYLES = {
    ElementState.DONE: "green",
    ElementState.RUNNING: "cyan",
    ElementState.FAILED: "red",
    ElementState.BLOCKED: "yellow",
    ElementState.CANCELLED: "yellow",
    ElementState.LOST: "yellow",
}


@dataclass(frozen=True)
class ShownElement:
    """One array element. Texts are "" and numbers None where unknown."""

    job: str  # name in the submission, 03-traces
    index: int  # in its job
    job_id: str  # 17_3, or 17 of a job with one element; "" if not submitted
    state: ElementState
    stages: tuple[str, ...]  # addresses; none: it publishes the result
    label: str = ""
    slurm_state: str = ""  # SLURM's name of the state
    ending: str = ""  # how it ended: SLURM's name, and the exit status, or who cancelled it
    elapsed: str = ""
    nodes: str = ""
    reason: str = ""  # SLURM's word for why it waits
    why: str = ""  # the same in plain words
    starts_at: str = ""  # expected start of a waiting element, local time: 2026-11-27T14:05:00
    restarts: int = 0
    peak_memory_gib: float | None = None
    progress: tuple[int, int, str] = (0, 0, "")  # done, total, unit; total 0: unknown
    note: str = ""  # who holds its stages, or how long ago its last progress was
    failed: tuple[str, ...] = ()  # addresses of its stages that failed
    message: str = ""  # the errors of these
    advice: str = ""
    log: str = ""

    @property
    def stage(self) -> str:
        """The name of its stages: traces, pool+rows."""
        names = dict.fromkeys(address.partition("/")[0] for address in self.stages)
        return "+".join(names) or "publish"


@dataclass(frozen=True)
class ShownStatus:
    """A submission at one moment."""

    name: str
    source: str
    elements: tuple[ShownElement, ...]
    at: datetime  # local time
    warnings: tuple[str, ...] = ()
    published: str | None = None  # where the result is
    resume: str = ""  # the command that submits what is missing
    is_damaged: bool = False  # its elements are not known
    note: str = ""  # about elements that are not in the queue yet


@dataclass(frozen=True)
class Line:
    """One line; `style` is a name of rich, or ""."""

    text: str
    style: str = ""


def status_lines(status: ShownStatus, columns: int | None) -> list[Line]:
    """The lines for a terminal of this width; with None, for a pipe: one line for each row, never wrapped."""
    counts = _counted([each.state for each in status.elements])
    lines = _wrapped(f"{status.name}: {counts}. Source: {status.source}.", columns, "bold")
    lines += [Line(f"warning: {each}", "yellow") for each in status.warnings]
    lines.append(Line(""))
    for stage, states in _by_stage(status.elements).items():
        lines += _wrapped(f"{stage}: {_counted(states)}", columns)
    rows = _rows(status)
    widths = _width([row.job_id for row in rows]), _width([row.state for row in rows])
    for state in ORDER:
        if found := [row for row in rows if row.of is state]:
            lines.append(Line(""))
            lines += [line for row in found for line in _row_lines(row, widths, columns)]
    if status.note:
        lines += [Line(""), *_wrapped(status.note, columns)]
    if any(each.state in TO_RESUBMIT for each in status.elements) and status.resume:
        lines += [Line(""), Line(f"to submit what failed or is missing: {status.resume}")]
    if status.published is not None:
        lines += [Line(""), Line(f"published: {status.published}")]
    return lines


def status_json(status: ShownStatus) -> dict[str, object]:
    """The content of `sweep status --json`; docs/slurm.md describes it."""
    states = [each.state for each in status.elements]
    total = Verdict.UNKNOWN if status.is_damaged else verdict(states)
    return {
        "version": JSON_VERSION,
        "submission": status.name,
        "state": total.name.lower(),
        "exit_status": total.value,
        "source": status.source,
        "published": status.published,
        "warnings": list(status.warnings),
        "note": status.note or None,
        "counts": _numbers(states),
        "stages": {stage: _numbers(found) for stage, found in _by_stage(status.elements).items()},
        "elements": [_element_json(each) for each in status.elements],
    }


def resumed_line(
    sent: Sequence[tuple[int, str]], before: Sequence[ElementStatus], after: Sequence[ElementStatus]
) -> str:
    """What `resume` did. `sent`: number of elements and id of each job; statuses before it and after it."""
    if sent:
        count = sum(elements for elements, _ in sent)
        return f"{elements_text(count)} submitted, jobs {', '.join(job_id for _, job_id in sent)}"
    missing = {each.element.stages for each in before if each.state in TO_RESUBMIT}
    later = {each.element.stages for each in after if each.state is ElementState.LATER}
    alive = elements_text(sum(each.state.is_alive for each in after))
    if again := len(missing & later):
        return f"{elements_text(again)} to be submitted again when the queue has room; {alive} in the queue now."
    if missing & {each.element.stages for each in after if each.state in TO_RESUBMIT}:
        return f"nothing submitted: other submissions have what is missing in the queue; {alive} in the queue here."
    waiting = f", {len(later)} in a later wave" if later else ""
    return f"nothing failed, nothing is missing; {alive} queued or running{waiting}."


def _element_json(each: ShownElement) -> dict[str, object]:
    done, total, unit = each.progress
    return {
        "job_id": each.job_id or None,
        "state": each.state.value,
        "slurm_state": each.slurm_state or None,
        "ending": each.ending or None,
        "job": each.job,
        "stages": list(each.stages),
        "label": each.label,
        "elapsed": each.elapsed or None,
        "nodes": each.nodes or None,
        "reason": each.reason or None,
        "expected_start": each.starts_at or None,
        "restarts": each.restarts,
        "peak_memory_gib": each.peak_memory_gib,
        "progress": {"done": done, "total": total, "unit": unit} if total else None,
        "failed_stages": list(each.failed),
        "message": each.message or None,
        "advice": each.advice or None,
        "log": each.log or None,
    }


# ------------------------------------------------------------------------------------------------------ rows


@dataclass(frozen=True)
class _Row:
    """Elements that are shown as one."""

    of: ElementState
    job_id: str
    state: str  # SLURM's word of what failed, otherwise the state
    what: str
    details: tuple[str, ...]
    log: str = ""


def _rows(status: ShownStatus) -> list[_Row]:
    """Elements that differ in nothing shown are one row; so are those of a job that would need too many rows."""
    jobs: dict[tuple[object, ...], dict[object, list[ShownElement]]] = {}
    for each in status.elements:
        why = each.why if each.state is ElementState.WAITING else each.ending
        rows = jobs.setdefault((each.state, each.job, each.job_id.partition("_")[0], why), {})
        rows.setdefault(_difference_of(each), []).append(each)
    groups: list[list[ShownElement]] = []
    for rows in jobs.values():
        found = list(rows.values())
        groups += found if len(found) <= ROWS_OF_A_JOB else [[each for row in found for each in row]]
    return [_row(sorted(group, key=lambda each: each.index), status.at) for group in groups]


def _difference_of(each: ShownElement) -> object:
    """What distinguishes rows of one job and state."""
    if each.state in TO_RESUBMIT:
        return each.message, each.advice
    return each.index if each.state is ElementState.RUNNING else None


def _row(group: Sequence[ShownElement], now: datetime) -> _Row:
    first = group[0]
    what = (*first.failed, *first.stages, first.stage)[0]
    if len(first.stages) > 1:
        what += f" +{len(first.stages) - 1}"
    what = f"{what}  {first.label}".rstrip()
    if len(group) > 1:
        what = f"{first.stage}  {elements_text(len(group))}"
    details = tuple(filter(None, _details(group, now)))
    others = f" and {len(group) - 1} more" if len(group) > 1 else ""
    log = f"log: {first.log}{others}" if first.log and first.state is not ElementState.DONE else ""
    return _Row(first.state, _id_of(group), first.ending or first.state.value, what, details, log)


def _details(group: Sequence[ShownElement], now: datetime) -> Iterator[str]:
    first = group[0]
    yield _times(group) if first.state is not ElementState.WAITING else ""
    if first.state is ElementState.WAITING:
        yield ", ".join(filter(None, (first.why, _start(group, now), _restarts(group))))
    if first.state is ElementState.RUNNING:
        yield _progress(group)
        yield _first([each.note for each in group])
    if first.state is ElementState.RUNNING or len(first.failed) > 1:
        yield _failed(group)
    yield _first([each.message for each in group])
    yield _first([each.advice for each in group])


def _failed(group: Sequence[ShownElement]) -> str:
    """Which stages of its elements failed; the other units of a packed element still run."""
    first, *others = [address for each in group for address in each.failed] or [""]
    more = f" and {len(others)} more, see --json" if others else ""
    return f"failed: {first}{more}" if first else ""


def _first(texts: Sequence[str]) -> str:
    """The first of different texts, and how many others there are."""
    first, *others = dict.fromkeys(filter(None, texts)) or [""]
    return f"{first} (and {len(others)} more, see --json)" if others else first


def _times(group: Sequence[ShownElement]) -> str:
    """after 1:30:12 on n7, 2 restarts"""
    first = group[0]
    if first.state is ElementState.DONE or len(group) > 1:
        return _restarts(group)
    ran = f"{'for' if first.state is ElementState.RUNNING else 'after'} {first.elapsed}" if first.elapsed else ""
    where = f"on {first.nodes}" if first.nodes else ""
    return ", ".join(filter(None, (f"{ran} {where}".strip(), _restarts(group))))


def _restarts(group: Sequence[ShownElement]) -> str:
    most = max(each.restarts for each in group)
    count = f"{most} restart{'s' if most > 1 else ''}" if most else ""
    return f"up to {count}" if most and len({each.restarts for each in group}) > 1 else count


def _start(group: Sequence[ShownElement], now: datetime) -> str:
    """The earliest expected start."""
    known = sorted(each.starts_at for each in group if each.starts_at)
    if not known:
        return ""
    try:
        time = datetime.fromisoformat(known[0])
    except ValueError:
        return ""
    shown = f"{time:%H:%M}" if time.date() == now.date() else f"{time:%b %d %H:%M}"
    return f"{'first ' if len(set(known)) > 1 else ''}starts ~{shown}"


def _progress(group: Sequence[ShownElement]) -> str:
    done, total = sum(each.progress[0] for each in group), sum(each.progress[1] for each in group)
    unit = next((each.progress[2] for each in group if each.progress[2]), "")
    return f"{done:,}/{total:,} {unit}".rstrip() if total else ""


def _id_of(group: Sequence[ShownElement]) -> str:
    """SLURM's notation: 17, 17_3, 17_[0-2,5]; of what was never submitted, the name of the job in place of 17."""
    first = group[0]
    base, _, _ = first.job_id.partition("_")
    if len(group) == 1:
        return first.job_id or f"{first.job}_{first.index}"
    pieces = ranges([each.index for each in group])
    if first.state is ElementState.DONE and len(pieces) > DONE_RANGES:
        pieces = "..."
    return f"{base or first.job}_[{pieces}]"


def ranges(numbers: Sequence[int]) -> str:
    """0-2,5"""
    runs: list[list[int]] = []
    for each in sorted(set(numbers)):
        if runs and runs[-1][-1] == each - 1:
            runs[-1].append(each)
        else:
            runs.append([each])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


# ----------------------------------------------------------------------------------------------------- lines


def _row_lines(row: _Row, widths: tuple[int, int], columns: int | None) -> Iterator[Line]:
    head = f"{row.job_id:<{widths[0]}}  {row.state:<{widths[1]}}  {row.what}"
    style = STYLES.get(row.of, "")
    if columns is None:
        yield Line("  ".join(filter(None, (head, *row.details, row.log))), style)
        return
    yield from _wrapped(head, columns, style)
    for each in row.details:
        yield from (Line(INDENT + text) for text in _wrap(each, columns - len(INDENT)))
    if row.log:
        yield Line(INDENT + row.log)


def _wrapped(text: str, columns: int | None, style: str = "") -> list[Line]:
    """The text, further lines indented."""
    if columns is None or len(text) <= columns:
        return [Line(text, style)]
    first, *more = _wrap(text, columns, INDENT)
    return [Line(first, style), *(Line(each, style) for each in more)]


def _wrap(text: str, columns: int, indent: str = "") -> list[str]:
    return wrap(
        text,
        max(LEAST_COLUMNS, columns),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )


def _width(texts: Sequence[str]) -> int:
    """Of a column: as wide as what is in it, but long entries do not widen it for the others."""
    return max((len(each) for each in texts if len(each) <= 20), default=0)


def _by_stage(elements: Sequence[ShownElement]) -> dict[str, list[ElementState]]:
    found: dict[str, list[ElementState]] = {}
    for each in elements:
        found.setdefault(each.stage, []).append(each.state)
    return found


def _numbers(states: Sequence[ElementState]) -> Mapping[str, int]:
    return {state.value: states.count(state) for state in ORDER if state in states}


def _counted(states: Sequence[ElementState]) -> str:
    return ", ".join(f"{count} {state}" for state, count in _numbers(states).items())
