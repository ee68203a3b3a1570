"""Whether an interrupted job may start again, from the files that its run left."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from sweep.errors import InputError
from sweep.slurm import client
from sweep.slurm.progress import LEAST_BYTES, MOST_RESTARTS, Progress, Restarts, reason_to_stop
from sweep.slurm.restart import Interrupted, progress_of, restart
from sweep.store.directory import Store
from tests.support.submissions import LAUNCH, fan, written
from tests.support.toy_queue import make_stage


def test_three_restarts_in_a_row_without_progress_are_the_last_and_each_waits_longer() -> None:
    restarts, waits = Restarts(), list[int]()
    while reason_to_stop(restarts, 3, "sft") is None:
        restarts = restarts.next(Progress())
        waits.append(restarts.wait_s)
    assert waits == [60, 300, 1500]
    reason = str(reason_to_stop(restarts, 3, "sft"))
    assert "interrupted 3 times in a row without progress" in reason and "raise launch.sft.minutes" in reason


@pytest.mark.parametrize(
    "now", [Progress(finished=1), Progress(kept="other"), Progress(appended_bytes=10 + LEAST_BYTES)]
)
def test_progress_of_any_kind_starts_the_count_anew(now: Progress) -> None:
    before = Restarts(2, 2, Progress(0, "some", 10))
    assert before.next(now) == Restarts(3, 0, now)
    assert before.next(now).next(now).without_progress == 1


def test_progress_does_not_help_for_ever() -> None:
    reason = reason_to_stop(Restarts(MOST_RESTARTS), 3, "cpu")
    assert reason is not None and f"interrupted {MOST_RESTARTS} times" in reason
    assert reason_to_stop(Restarts(MOST_RESTARTS - 1), 3, "cpu") is None


def test_checkpoints_and_tokens_are_progress_and_unfinished_checkpoints_are_not(tmp_path: Path) -> None:
    directory = Store(tmp_path).prepare(make_stage("points", 1))
    earlier = progress_of([directory])
    assert earlier == Progress()
    half = directory.scratch / "saving-1" / "checkpoint-5"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half")
    tail = directory.scratch / "train.jsonl"
    tail.write_text("{}\n", encoding="ascii")
    assert not progress_of([directory]).is_beyond(earlier)
    half.rename(directory.scratch / "checkpoint-5")
    kept = progress_of([directory])
    assert kept.is_beyond(earlier) and not progress_of([directory]).is_beyond(kept)
    tail.write_bytes(b"x" * (LEAST_BYTES + 3))
    assert progress_of([directory]).is_beyond(kept)


def test_without_follow_up_jobs_an_interrupted_job_ends_where_slurm_does_not_requeue_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(element: str) -> None:
        raise InputError("scontrol requeue: Requested operation is presently disabled.")

    monkeypatch.setattr(client, "requeue", refuse)
    directory = written(Store(tmp_path / "store"), fan(), dataclasses.replace(LAUNCH, follow_up=False))
    with pytest.raises(InputError) as raised:
        restart(Interrupted("17_1", 0, (), directory, "02-points", 1))
    assert re.fullmatch(
        r"scontrol requeue: .*disabled\.\njob 17_1 ends here, as launch\.follow_up is false\. Continue from a login"
        rf" node: python -m sweep resume {directory.name} store=\S+",
        str(raised.value),
    )
    assert [job.name for job in directory.read().jobs] == ["01-start", "02-points", "03-total", "04-publish"]
