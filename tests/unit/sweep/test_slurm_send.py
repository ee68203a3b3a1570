"""A queue that is away: what is waited out, what is looked up before it is sent again, what is said of the rest."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sweep.errors import InputError
from sweep.launch import patience, slurm, slurm_queue
from sweep.launch.patience import MOST_S, WAITS_S, Patience, QueueAway, is_refusal, is_transient
from sweep.launch.slurm_state import Seen, State
from sweep.launch.submission import SubmissionDirectory
from sweep.store import Store
from tests.unit.sweep.test_submission import fan, written

AWAY = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"


@dataclass
class Waits:
    """The time that passes in waits, and what was said before each."""

    now: float = 0.0
    lines: list[str] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def patience(self, waits_s: Sequence[float] = WAITS_S) -> Patience:
        return Patience(waits_s, MOST_S, self.sleep, self.lines.append, lambda: self.now)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    made = Waits()
    monkeypatch.setattr(patience, "PATIENCE", made.patience())
    return made


@dataclass
class Controller:
    """Takes jobs by their names; each answer to sbatch and squeue is scripted, and is "ok" once the script is over."""

    answers: list[str]  # ok, lost: taken without an answer; away: not taken, no answer; refused
    jobs: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def submit(self, script: Path, arguments: Sequence[str], dependency: str | None) -> str:
        answer = self._answer(f"sbatch {script.stem}")
        (name,) = [line.partition("=")[2] for line in script.read_text().splitlines() if "--job-name" in line]
        if answer == "refused":
            raise InputError("sbatch: invalid partition specified: gpus. Correct the launch settings or the site.")
        if answer != "away":
            assert name not in self.jobs, "sent twice"
            self.jobs[name] = str(101 + len(self.jobs))
        if answer != "ok":
            raise QueueAway(f"{AWAY}.")
        return self.jobs[name]

    def find(self, name: str) -> str | None:
        if self._answer("squeue") != "ok":
            raise QueueAway("squeue: slurm_load_jobs error: Unable to contact slurm controller (connect failure).")
        return self.jobs.get(name)

    def cancel(self, ids: Sequence[str]) -> None:
        if ids and self._answer("scancel") != "ok":
            raise QueueAway("scancel: error: Kill job error: Unable to contact slurm controller (connect failure).")
        self.cancelled += ids

    def _answer(self, call: str) -> str:
        self.calls.append(call)
        return self.answers.pop(0) if self.answers else "ok"


Connect = Callable[..., Controller]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, waits: Waits) -> Connect:
    def to(*answers: str) -> Controller:
        made = Controller(list(answers))
        for call in ("submit", "find", "cancel"):
            monkeypatch.setattr(slurm_queue, call, getattr(made, call))
        monkeypatch.setattr(slurm_queue, "in_queue", lambda ids: {})
        monkeypatch.setattr(slurm_queue, "ended", lambda ids: ({}, ""))
        return made

    return to


def send(directory: SubmissionDirectory) -> dict[str, str]:
    return slurm.send(directory, directory.read().jobs, slurm_queue.submit)


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        (AWAY, True),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", True),
        ("sbatch: error: Batch job submission failed: Resource temporarily unavailable", True),
        ("sacct: error: Problem talking to the database: Connection refused", True),
        ("sacct: error: slurmdbd: Sending PersistInit msg: Connection refused", True),
        ("squeue: error: slurm_receive_msg: Zero Bytes were transmitted or received", True),
        ("slurm_load_jobs error: Slurm backup controller in standby mode", True),
        ("sbatch: error: Batch job submission failed: Unable to create job record, try again", True),
        ("sbatch: error: invalid partition specified: gpus", False),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", False),
        ("sbatch: error: AssocMaxSubmitJobLimit", False),
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination", False),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", False),
        (
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying"
            " sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
            False,
        ),
        ("Slurm accounting storage is disabled", False),
        ("squeue: error: Invalid job id specified", False),
        ("scancel: error: Kill job error on job id 5: Access/permission denied", False),
    ],
)
def test_what_passes_by_itself_is_told_from_what_is_refused(said: str, passes: bool) -> None:
    assert is_transient(said) is passes


def test_waits_double_are_said_and_are_bounded_in_all(waits: Waits) -> None:
    calls = []

    def call() -> str:
        calls.append(waits.now)
        raise QueueAway("squeue: Unable to contact slurm controller (connect failure).")

    with pytest.raises(QueueAway, match="Unable to contact"):
        patience.PATIENCE.repeat(call)
    assert calls == [0, 2, 6, 14, 30, 60, 105, 165]
    assert waits.lines[0] == "squeue: Unable to contact slurm controller (connect failure). Again in 2 s."
    assert len(waits.lines) == len(WAITS_S)
    with pytest.raises(QueueAway):
        patience.PATIENCE.repeat(call)  # it was in vain: what is asked next does not wait as long once more
    assert calls[-1] == 165 and len(waits.lines) == len(WAITS_S)


def test_calls_that_hang_count_into_the_bound(waits: Waits) -> None:
    def call() -> str:
        waits.now += 120  # as long as a call may take
        raise QueueAway("squeue: no answer in 120 s. Is slurmctld up?")

    with pytest.raises(QueueAway):
        patience.PATIENCE.repeat(call)
    assert waits.now <= MOST_S + 120


@pytest.mark.parametrize("program", ["squeue", "sacct", "scontrol", "scancel"])
def test_every_question_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: Waits, program: str
) -> None:
    """By real processes: one that fails twice of a thing that passes, and then answers."""
    tried = tmp_path / "tried"
    answer = {"squeue": "17|RUNNING|1:00|None|n1", "sacct": "17|RUNNING|1:00|0:0|n1", "scontrol": "MaxArraySize = 9"}
    said = "Socket timed out on send/recv operation"
    script = (
        f"#!/bin/sh\necho >>{tried}\nif [ $(wc -l <{tried}) -lt 3 ]; then echo {said} >&2; exit 1; fi\n"
        f"echo '{answer.get(program, '')}'\n"
    )
    (tmp_path / program).write_text(script, encoding="utf-8")
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    ask: dict[str, Callable[[], object]] = {
        "squeue": lambda: sorted(slurm_queue.in_queue(["17"]) or {}),
        "sacct": lambda: sorted(slurm_queue.ended(["17"])[0]),
        "scontrol": slurm_queue.max_array_size,
        "scancel": lambda: slurm_queue.cancel(["17"]),
    }
    expected = {"squeue": ["17"], "sacct": ["17"], "scontrol": 9, "scancel": None}
    assert ask[program]() == expected[program]
    assert waits.lines == [f"{program}: {said}. Again in {s} s." for s in (2, 4)]


def test_a_refusal_is_not_repeated(tmp_path: Path, connect: Connect, waits: Waits) -> None:
    controller = connect("ok", "refused")
    directory = written(Store(tmp_path / "store"), fan())
    with pytest.raises(InputError, match=r"^sbatch: invalid partition specified: gpus[^\n]*$"):
        send(directory)
    assert controller.calls == ["sbatch 01-start", "sbatch 02-points", "squeue", "scancel"]
    assert controller.cancelled == ["101"]
    assert waits.lines == []
    assert directory.in_doubt() == {}
    assert directory.ids() == {"01-start": "101"}


SBATCH = """#!/bin/sh
for each in "$@"; do case $each in *.sbatch) script=$each;; esac; done
name=$(sed -n 's/^#SBATCH --job-name=//p' $script)
id=$((101 + $(wc -l <{jobs})))
echo "$(basename $script .sbatch)" >>{calls}
case $script in *02-points.sbatch) {second} ;; *) echo "$id|$name" >>{jobs}; echo $id ;; esac
"""
TAKEN = 'echo "$id|$name" >>{jobs};'


def real(directory: Path, monkeypatch: pytest.MonkeyPatch, second: str, squeue: str = "cat {jobs}") -> Path:
    """Commands of SLURM as real processes, of which sbatch does `second` with the second job; the file of its calls."""
    places = {"jobs": directory / "jobs.txt", "calls": directory / "calls.txt"}
    for path in places.values():
        path.write_text("", encoding="utf-8")
    texts = {
        "sbatch": SBATCH.format(second=second.format(**places), **places),
        "squeue": f"#!/bin/sh\n{squeue.format(**places)}\n",
        **dict.fromkeys(("sacct", "scancel"), "#!/bin/sh\necho >/dev/null\n"),
    }
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return places["calls"]


@pytest.mark.parametrize(
    "second",
    [
        f"{TAKEN} echo $id; echo 'lua: plugin error' >&2; exit 1",
        f"{TAKEN} echo $id; echo 'sbatch: error: invalid partition specified: of a hook' >&2; exit 1",
        f"{TAKEN} echo 'site wrapper: cannot write its log' >&2; exit 3",
        f"{TAKEN} echo 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1",
        f"{TAKEN} exit 1",
        f"{TAKEN} echo Welcome.",
        f"{TAKEN} echo $id; echo Thank you for using the cluster",
        f"{TAKEN} echo 2026; echo $id",
    ],
)
def test_what_sbatch_took_and_then_failed_of_is_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: Waits, second: str
) -> None:
    calls = real(tmp_path, monkeypatch, second)
    directory = written(Store(tmp_path / "store"), fan())
    assert list(send(directory).values()) == ["101", "102", "103", "104"]
    assert calls.read_text().split() == ["01-start", "02-points", "03-total", "04-publish"]
    assert list(directory.ids().values()) == ["101", "102", "103", "104"] and directory.in_doubt() == {}


def test_a_failure_in_unknown_words_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: Waits
) -> None:
    calls = real(tmp_path, monkeypatch, "echo 'lua: no' >&2; exit 1")
    directory = written(Store(tmp_path / "store"), fan())
    with pytest.raises(InputError, match=r"^sbatch: lua: no\. The job is not in the queue\. Correct .*[^\n]$"):
        send(directory)
    assert calls.read_text().split() == ["01-start", "02-points"]
    assert directory.in_doubt() == {} and directory.ids() == {"01-start": "101"}
    assert len(waits.lines) == 2  # looked up twice


def test_where_it_cannot_be_looked_up_that_is_said_and_it_stays_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: Waits
) -> None:
    for words in ("lua: no", "sbatch: error: invalid partition specified: gpus"):
        calls = real(tmp_path, monkeypatch, f"echo '{words}' >&2; exit 1", squeue="echo 'no licence' >&2; exit 1")
        directory = written(Store(tmp_path / "store"), fan())
        with pytest.raises(InputError, match=rf"{words}(.|\n)*02-points: whether SLURM has taken it is not known"):
            send(directory)
        assert calls.read_text().split() == ["01-start", "02-points"]
        assert list(directory.in_doubt()) == ["02-points"]


@pytest.mark.parametrize(
    ("said", "is_final"),
    [
        ("sbatch: error: invalid partition specified: gpus", True),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", True),
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination", True),
        ("sbatch: unrecognized option '--nonsense'", True),
        ("sbatch: error: invalid partition, Unable to contact slurm controller", False),
        ("sbatch: error: lua: plugin error", False),
        ("Killed", False),
        ("status 1", False),
    ],
)
def test_only_known_words_are_a_refusal(said: str, is_final: bool) -> None:
    assert is_refusal(said) is is_final


@pytest.mark.parametrize("answer", ["lost", "away"])
def test_a_call_without_an_answer_is_looked_up_and_sent_once(
    tmp_path: Path, connect: Connect, answer: str, waits: Waits
) -> None:
    controller = connect("ok", answer, "away", "away")
    directory = written(Store(tmp_path / "store"), fan())
    ids = send(directory)
    assert list(controller.jobs.values()) == list(ids.values()) == ["101", "102", "103", "104"]
    looked_up = ["squeue"] * (3 if answer == "lost" else 4)  # not there: only twice said it is sent again
    again = [] if answer == "lost" else ["sbatch 02-points"]
    assert controller.calls == [
        *("sbatch 01-start", "sbatch 02-points", *looked_up, *again),
        *("sbatch 03-total", "sbatch 04-publish"),
    ]
    assert directory.ids() == ids and directory.in_doubt() == {}
    assert len(waits.lines) == len(looked_up)


def test_an_answer_that_is_no_id_is_looked_up(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = connect()
    submit = controller.submit

    def without_id(script: Path, arguments: Sequence[str], dependency: str | None) -> str:
        job_id = submit(script, arguments, dependency)
        if script.stem == "02-points":
            raise QueueAway("sbatch: answered 'Welcome.', which is no job id.")
        return job_id

    monkeypatch.setattr(slurm_queue, "submit", without_id)
    assert list(send(written(Store(tmp_path / "store"), fan())).values()) == ["101", "102", "103", "104"]


def test_a_controller_that_stays_away_leaves_nothing_unnamed(
    tmp_path: Path, connect: Connect, golden: Callable[[str, str], None]
) -> None:
    controller = connect("ok", "ok", *["away"] * 99)
    directory = written(Store(tmp_path / "store"), fan())
    with pytest.raises(InputError) as raised:
        send(directory)
    names = {job: directory.queue_name(job, "toy") for job in ("03-total",)}
    text = str(raised.value).replace(directory.words, "ID store=DIR").replace(names["03-total"], "toy-total-0123456789")
    golden("slurm/controller-away.txt", text + "\n")
    assert directory.ids() == {"01-start": "101", "02-points": "102"}
    assert directory.in_doubt() == names
    assert controller.calls.count("sbatch 03-total") == 1


def test_what_was_taken_without_an_answer_is_cancelled_with_the_rest(tmp_path: Path, connect: Connect) -> None:
    controller = connect("ok", "lost", *["away"] * len(WAITS_S))
    directory = written(Store(tmp_path / "store"), fan())
    with pytest.raises(InputError, match="Unable to contact"):
        send(directory)
    assert controller.cancelled == ["101", "102"]
    assert directory.ids() == {"01-start": "101", "02-points": "102"}
    assert directory.in_doubt() == {}


@pytest.mark.parametrize("taken", [True, False])
def test_a_job_whose_sender_died_is_adopted_or_sent_again(tmp_path: Path, connect: Connect, taken: bool) -> None:
    """Killed between sbatch and the file with the id."""
    controller = connect()
    store = Store(tmp_path / "store")
    directory = written(store, fan())
    name = directory.queue_name("01-start", "toy")
    directory.sending("01-start", name)
    if taken:
        controller.jobs[name] = "99"
    states = {each.job: each.state for each in slurm.look(directory).elements}
    assert states["01-start"] is (State.LOST if taken else State.UNSENT)  # this squeue knows no job any more
    assert directory.ids() == ({"01-start": "99"} if taken else {})
    slurm.resume(directory, store, slurm_queue.submit)
    assert directory.in_doubt() == {}
    assert list(directory.ids())[:1] == (["01-start"] if taken else ["01-start.r2"])


def test_what_is_in_doubt_while_the_controller_is_away_is_neither_sent_nor_called_unsent(
    tmp_path: Path, connect: Connect
) -> None:
    controller = connect(*["away"] * 99)
    store = Store(tmp_path / "store")
    directory = written(store, fan())
    directory.sending("01-start", directory.queue_name("01-start", "toy"))
    situation = slurm.look(directory)
    assert situation.elements[0].state is State.UNKNOWN
    assert situation.source.startswith("the disk alone")
    for act in (lambda: slurm.resume(directory, store, slurm_queue.submit), lambda: slurm.cancel(directory)):
        with pytest.raises(InputError, match=r"whether 01-start \(toy-start-.*\) is in the queue is not known"):
            act()
    with pytest.raises(InputError, match="Nothing was sent"):
        slurm.elsewhere(store.root, must_know=True)
    assert not [call for call in controller.calls if call.startswith("sbatch")]
    assert directory.is_open and list(directory.in_doubt()) == ["01-start"]


@pytest.mark.parametrize("damage", [b"", b"12\x00", b"\xff\xfe", b"103", b"1", b"10"])
def test_an_id_that_was_torn_is_found_again_by_name(tmp_path: Path, connect: Connect, damage: bytes) -> None:
    connect()
    directory = written(Store(tmp_path / "store"), fan())
    ids = send(directory)
    file = directory.path / "jobs" / "02-points.job"
    rest = file.read_bytes()[3:] if damage in (b"103", b"1") else b""  # another number; all else is torn
    file.write_bytes(damage + rest)
    assert directory.ids() != ids
    slurm.look(directory)
    assert directory.ids() == ids


def test_an_id_that_was_noted_before_there_were_checks_counts(tmp_path: Path) -> None:
    directory = written(Store(tmp_path / "store"), fan())
    (directory.path / "jobs" / "01-start.job").write_text("17\n", encoding="ascii")
    assert directory.ids() == {"01-start": "17"} and directory.in_doubt() == {}


def test_a_name_that_was_torn_too_is_known_all_the_same(tmp_path: Path, connect: Connect) -> None:
    connect()
    directory = written(Store(tmp_path / "store"), fan())
    ids = send(directory)
    for kind in ("job", "sending"):
        (directory.path / "jobs" / f"02-points.{kind}").write_bytes(b"")
    slurm.look(directory)
    assert directory.ids() == ids


def test_an_id_that_cannot_be_noted_is_named(tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full just then, and a controller that goes away before the job can be cancelled."""
    connect("ok", "ok", *["away"] * 99)
    directory = written(Store(tmp_path / "store"), fan())
    note = SubmissionDirectory.submitted

    def full(self: SubmissionDirectory, job: str, job_id: str) -> None:
        if job == "02-points":
            raise OSError(28, "No space left on device", str(self.path))
        note(self, job, job_id)

    monkeypatch.setattr(SubmissionDirectory, "submitted", full)
    with pytest.raises(InputError, match=r"No space left on device(.|\n)*scancel 101 102"):
        send(directory)


def test_names_in_the_queue_are_like_no_other(tmp_path: Path) -> None:
    first, second = (written(Store(tmp_path / each), fan()) for each in ("a", "b"))
    names = [each.queue_name(job.name, "toy") for each in (first, second) for job in each.read().jobs]
    assert len(set(names)) == 8
    assert names[1].startswith("toy-points-")
    script = first.script("02-points").read_text(encoding="utf-8")
    assert f"#SBATCH --job-name={names[1]}\n" in script


@pytest.mark.parametrize("experiment", ["smoke-steps=100", "a b,c", "100%j", "#\n--x", "x" * 400])
def test_a_name_in_the_queue_is_one_plain_word(tmp_path: Path, experiment: str) -> None:
    name = SubmissionDirectory(tmp_path).queue_name("03-pool+rows.r2", experiment)
    assert re.fullmatch(r"[A-Za-z0-9._+=-]{1,170}", name)
    assert name != SubmissionDirectory(tmp_path).queue_name("03-pool+rows.r3", experiment)


def test_what_is_found_is_the_job_of_that_very_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an array its own id; also of a job that has ended, by accounting where the controller has forgotten it."""
    monkeypatch.setattr(
        slurm_queue,
        "_ask_once",
        lambda *command: {"squeue": "8|other\n17|toy-a-1\n17|toy-a-1\n", "sacct": "5_2|toy-b-2\n5_[3-4]|toy-b-2\n"}[
            command[0]
        ],
    )
    assert (slurm_queue.find("toy-a-1"), slurm_queue.find("toy-b-2"), slurm_queue.find("toy-c-3")) == ("17", "5", None)


def test_a_command_that_is_killed_may_have_been_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sbatch").write_text("#!/bin/sh\nkill -9 $$\n", encoding="utf-8")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "a.sbatch").write_text("#SBATCH --job-name=a\n", encoding="utf-8")
    with pytest.raises(QueueAway, match="ended by signal 9"):
        slurm_queue.submit(tmp_path / "a.sbatch", [], None)
    monkeypatch.setattr(
        subprocess, "run", lambda *command, **options: (_ for _ in ()).throw(subprocess.TimeoutExpired("s", 1))
    )
    with pytest.raises(QueueAway, match="no answer"):
        slurm_queue.submit(tmp_path / "a.sbatch", [], None)


GREETING = "*** Welcome | to | the | cluster | today ***\nModule slurm/24 loaded.\n|||||\na|b|c|d|e\n"


def answered(monkeypatch: pytest.MonkeyPatch, **texts: str) -> None:
    def ask(program: str, *words: str) -> str:
        return texts[program]

    monkeypatch.setattr(slurm_queue, "_ask_once", ask)


def test_greetings_of_squeue_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    answered(
        monkeypatch, squeue=f"{GREETING}17_3|RUNNING|1:00|None|n1\n18|PENDING|0:00|Priority|\n99|RUNNING|0|None|n\n"
    )
    assert slurm_queue.in_queue(["17", "18"]) == {
        "17_3": Seen("RUNNING", "None", "1:00", "n1"),
        "18": Seen("PENDING", "Priority", "0:00", ""),
    }
    answered(monkeypatch, squeue=GREETING)
    assert slurm_queue.in_queue(["17"]) == {}


@pytest.mark.parametrize("line", ["17|RUNN", "17_3|RUNNING|1:00|None", "17||1:00|None|n1", "17|?|1:00|None|n1"])
def test_a_job_of_which_squeue_does_not_say_how_it_stands_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    answered(monkeypatch, squeue=f"{line}\n")
    assert slurm_queue.in_queue(["17"]) is None


def test_greetings_of_sacct_and_scontrol_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "17|FAILED|1:00|1:0|n1\n18_[0-1]|CANCELLED by 0|0:00|0:0|\n19|\n20||0:00|0:0|n\n"
    answered(monkeypatch, sacct=GREETING + rows)
    assert slurm_queue.ended(["17", "18"])[0] == {
        "17": Seen("FAILED", "exit 1:0", "1:00", "n1"),
        "18_0": Seen("CANCELLED", "exit 0:0", "0:00", ""),
        "18_1": Seen("CANCELLED", "exit 0:0", "0:00", ""),
    }
    answered(monkeypatch, squeue=f"{GREETING}x|toy-a-1\n17|toy-a-1\n", sacct="")
    assert slurm_queue.find("toy-a-1") == "17"
    remembered = "Welcome a=b\nJobId=17 JobState=TIMEOUT RunTime=1:00 NodeList=n1 ExitCode=0:1\n"
    answered(monkeypatch, scontrol=remembered)
    monkeypatch.setattr(slurm_queue.patience.PATIENCE, "is_spent", True)
    assert list(slurm_queue._remembered("17")) == [("17", Seen("TIMEOUT", "exit 0:1", "1:00", "n1"))]


@pytest.mark.parametrize(
    ("said", "size"),
    [
        (f"{GREETING}MaxArraySize            = 1001\n", 1001),
        ("MaxArraySize = garbage\n", None),
        ("MaxArraySize =\n", None),
        ("MaxArraySize = -5\n", None),
        ("MaxArraySize = 0\n", 1),  # no arrays at all
        ("", None),
    ],
)
def test_the_longest_array_is_a_number_or_not_known(
    monkeypatch: pytest.MonkeyPatch, said: str, size: int | None
) -> None:
    answered(monkeypatch, scontrol=said)
    assert slurm_queue.max_array_size() == size


def test_the_environment_sends_no_job_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SBATCH_CLUSTERS is read by sbatch alone: squeue would not see the job."""
    (tmp_path / "sbatch").write_text('#!/bin/sh\n[ -z "$SBATCH_CLUSTERS$SBATCH_ARRAY_INX$SBATCH_WAIT" ] && echo 17\n')
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name in ("SBATCH_CLUSTERS", "SBATCH_ARRAY_INX", "SBATCH_WAIT"):
        monkeypatch.setenv(name, "1")
    (tmp_path / "a.sbatch").write_text("#SBATCH --job-name=a\n", encoding="utf-8")
    assert slurm_queue.submit(tmp_path / "a.sbatch", [], None) == "17"
