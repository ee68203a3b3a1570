"""`sweep status`: job and state first at every width, one line for each row in a pipe, JSON and exit status."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from sweep.cli.status_view import ShownElement, ShownStatus, ranges, resumed_line, status_json, status_lines
from sweep.slurm.jobs import Element
from sweep.slurm.status import ElementState, ElementStatus, Verdict, verdict

STORE = "/scratch/me/project/store"
LOGS = f"{STORE}/submissions/20261126-101500-budget_scan/logs"
RESUME = "python -m sweep resume 20261126-101500-budget_scan"


def element(job: str, job_id: str, state: ElementState, index: int = 0, **facts: object) -> ShownElement:
    stage = f"{job.partition('-')[2]}/{index:012x}"
    return replace(ShownElement(job, index, job_id, state, (stage,), f"max {index}"), **facts)  # type: ignore[arg-type]


def array(job: str, job_id: str, state: ElementState, indices: Sequence[int], **facts: object) -> list[ShownElement]:
    return [element(job, f"{job_id}_{index}", state, index, **facts) for index in indices]


POINTS, WAITS = "02-traces", {"reason": "Priority", "why": "other jobs are first (Priority)"}
ELEMENTS = [
    element("01-checkpoint", "16", ElementState.DONE),
    *array(POINTS, "17", ElementState.DONE, [0, 1, 2, 5]),
    element(
        POINTS,
        "17_3",
        ElementState.FAILED,
        3,
        ending="TIMEOUT",
        slurm_state="TIMEOUT",
        elapsed="12:00:29",
        nodes="n7",
        restarts=1,
        advice="Stopped at its limit of 720 min before it was saved. Raise launch.generate.minutes, or"
        " launch.signal_seconds if saving takes longer, and give the command again.",
        log=f"{LOGS}/02-traces_3.txt",
    ),
    *array(
        POINTS,
        "17",
        ElementState.FAILED,
        [4, 8, 9],
        ending="OUT_OF_MEMORY",
        slurm_state="OUT_OF_MEMORY",
        advice="Its largest task used 63.8 GiB of 64 GiB. Raise launch.generate.memory_gib_per_gpu and give the command"
        " again.",
        log=f"{LOGS}/02-traces_4.txt",
    ),
    element(
        POINTS,
        "17_6",
        ElementState.RUNNING,
        6,
        elapsed="1:02:03",
        nodes="n12",
        progress=(120, 500, "questions"),
        note="last progress 3 min ago",
    ),
    *array(POINTS, "17", ElementState.WAITING, range(10, 408), starts_at="2026-11-26T14:05:00", **WAITS),
    *array("03-scores", "18", ElementState.BLOCKED, [3, 4, 8, 9], advice="A stage that it needs is missing."),
    *array("03-scores", "18", ElementState.WAITING, [0, 1], why="waits for other jobs (Dependency)"),
    replace(element("04-publish", "", ElementState.UNSENT, advice="resume submits it."), stages=(), label=""),
]
STATUS = ShownStatus(
    "20261126-101500-budget_scan",
    "squeue and sacct",
    tuple(ELEMENTS),
    datetime(2026, 11, 26, 12, 0),
    warnings=("store, checked by the first job: 0.0 GiB free.",),
    resume=RESUME,
)


@pytest.mark.parametrize("columns", [80, 60])
def test_rows_fit_the_terminal_and_begin_with_job_and_state(columns: int, golden: Callable[[str, str], None]) -> None:
    lines = [each.text for each in status_lines(STATUS, columns)]
    assert max(len(each) for each in lines if LOGS not in each and RESUME not in each) <= columns
    golden(f"cli/status/{columns}.txt", "\n".join(lines) + "\n")


def test_in_a_pipe_every_row_is_one_whole_line(golden: Callable[[str, str], None]) -> None:
    lines = [each.text for each in status_lines(STATUS, None)]
    (late,) = [each for each in lines if "17_3" in each]
    assert late.split()[:2] == ["17_3", "TIMEOUT"] and late.endswith(f"log: {LOGS}/02-traces_3.txt")
    golden("cli/status/pipe.txt", "\n".join(lines) + "\n")


def test_json_has_every_element(golden: Callable[[str, str], None]) -> None:
    few = replace(STATUS, elements=tuple(each for each in ELEMENTS if each.index in (0, 3, 6)))
    content = status_json(few)
    assert json.loads(json.dumps(content)) == content
    golden("cli/status/status.json", json.dumps(content, indent=2) + "\n")


def test_many_running_elements_of_a_job_are_one_row() -> None:
    running = array(POINTS, "17", ElementState.RUNNING, range(21), elapsed="1:00", progress=(10, 100, "questions"))
    (row,) = [each.text for each in status_lines(replace(STATUS, elements=tuple(running)), None) if "17_" in each.text]
    assert row == "17_[0-20]  running  traces  21 elements  210/2,100 questions"
    few = replace(STATUS, elements=tuple(running[:20]))
    assert sum("17_" in each.text for each in status_lines(few, None)) == 20


def test_many_different_failures_of_a_job_are_one_row() -> None:
    failed = [
        element(
            POINTS, f"17_{at}", ElementState.FAILED, at, ending="FAILED exit 1", message=f"seed {at}: bad", advice="a"
        )
        for at in range(21)
    ]
    (row,) = [each.text for each in status_lines(replace(STATUS, elements=tuple(failed)), None) if "17_" in each.text]
    assert row == "17_[0-20]  FAILED exit 1  traces  21 elements  seed 0: bad (and 20 more, see --json)  a"


UNITS = tuple(f"traces/{index:012x}" for index in range(8))


def rows_of(*elements: ShownElement) -> list[str]:
    return [each.text for each in status_lines(replace(STATUS, elements=elements), None) if "17_" in each.text]


def test_the_row_of_a_packed_element_names_the_stage_that_failed() -> None:
    packed = element(POINTS, "17_3", ElementState.FAILED, 3, stages=UNITS, label="", ending="FAILED exit 1")
    assert rows_of(replace(packed, failed=UNITS[2:3], message="bad")) == [
        "17_3  FAILED exit 1  traces/000000000002 +7  bad"
    ]
    assert rows_of(replace(packed, failed=UNITS[2:4], message="bad")) == [
        "17_3  FAILED exit 1  traces/000000000002 +7  failed: traces/000000000002 and 1 more, see --json  bad"
    ]
    assert rows_of(packed) == ["17_3  FAILED exit 1  traces/000000000000 +7"]  # ended before any stage failed


def test_a_unit_that_failed_is_shown_while_its_element_runs() -> None:
    packed = element(POINTS, "17_3", ElementState.RUNNING, 3, stages=UNITS, label="", progress=(5, 8, "questions"))
    assert rows_of(replace(packed, failed=UNITS[2:3], message="bad")) == [
        "17_3  running  traces/000000000002 +7  5/8 questions  failed: traces/000000000002  bad"
    ]


def test_done_elements_in_many_pieces_are_counted() -> None:
    done = array(POINTS, "17", ElementState.DONE, range(0, 400, 3))
    (row,) = [each.text for each in status_lines(replace(STATUS, elements=tuple(done)), None) if "17_" in each.text]
    assert row == "17_[...]  done  traces  134 elements"


@pytest.mark.parametrize(
    ("starts", "shown"),
    [
        (["2026-11-26T14:05:00"], "starts ~14:05"),
        (["2026-11-27T02:00:00", "2026-11-26T14:05:00"], "first starts ~14:05"),
        (["2026-11-27T02:00:00", "2026-11-27T02:00:00"], "starts ~Nov 27 02:00"),
        (["", "soon"], ""),
        ([""], ""),
    ],
)
def test_the_earliest_expected_start_is_shown(starts: list[str], shown: str) -> None:
    waiting = [
        element(POINTS, f"17_{index}", ElementState.WAITING, index, starts_at=start, why="why")
        for index, start in enumerate(starts)
    ]
    (row,) = [each.text for each in status_lines(replace(STATUS, elements=tuple(waiting)), None) if "17_" in each.text]
    assert row.partition("why")[2] == (f", {shown}" if shown else "")


def test_ranges_are_those_of_slurm() -> None:
    assert [ranges(each) for each in ([0], [0, 1, 2, 5], [7, 3, 4])] == ["0", "0-2,5", "3-4,7"]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["done", "done"], Verdict.DONE),
        (["done", "waiting"], Verdict.RUNNING),
        (["running", "failed"], Verdict.FAILED),
        (["done", "lost"], Verdict.FAILED),
        (["cancelled"], Verdict.FAILED),
        (["not submitted", "waiting"], Verdict.FAILED),
        (["unknown", "done"], Verdict.UNKNOWN),
        (["unknown", "failed"], Verdict.FAILED),
    ],
)
def test_the_exit_status_tells_the_worst(states: list[str], expected: Verdict) -> None:
    assert verdict([ElementState(each) for each in states]) is expected


def test_the_numbers_of_the_exit_status_stay() -> None:
    assert {each.name: each.value for each in Verdict} == {"DONE": 0, "UNKNOWN": 1, "RUNNING": 3, "FAILED": 4}


def in_states(*states: ElementState) -> list[ElementStatus]:
    return [ElementStatus("01", n, Element(((f"a/{n}",),), ()), "7", each, None) for n, each in enumerate(states)]


def test_resume_says_what_it_sent_what_waits_for_room_and_what_is_left_to_others() -> None:
    failed, later, running = ElementState.FAILED, ElementState.LATER, ElementState.RUNNING
    before = in_states(failed, later, running)
    assert resumed_line([(1, "17"), (2, "18")], before, before) == "3 elements submitted, jobs 17, 18"
    assert resumed_line([], before, in_states(later, later, running)) == (
        "1 element to be submitted again when the queue has room; 1 element in the queue now."
    )
    assert resumed_line([], before, before).startswith("nothing submitted: other submissions have what is missing")
    nothing = in_states(ElementState.DONE, later, running, running)
    assert resumed_line([], nothing, nothing) == (
        "nothing failed, nothing is missing; 2 elements queued or running, 1 in a later wave."
    )


def test_the_note_about_later_waves_is_in_text_and_json() -> None:
    shown = replace(STATUS, note="6 elements in a later wave.")
    assert "6 elements in a later wave." in [line.text for line in status_lines(shown, None)]
    assert status_json(shown)["note"] == "6 elements in a later wave."
