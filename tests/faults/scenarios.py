"""Causes and recovery of each kind of fault: one function per kind, selected by the first word of a case's id."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.faults import disks
from tests.faults.bases import Bases, begin, clear
from tests.faults.cases import BASES, DONE, REAL, SWEEP, WORDS, Case
from tests.faults.damage import DAMAGES, explains_remaking, kinds_of, owes_a_word, remove_resting, stage_of
from tests.faults.faults import Fault
from tests.faults.pipeline import STRIKE
from tests.faults.processes import Bench, Process, settle
from tests.faults.servers import out_of_order
from tests.faults.state import result_folder
from tests.faults.trial import Trial

DEAR = "dear=true"
PATIENCE_S = 1.0  # how long a second command may run beside a stopped process before that one goes on


# ---------------------------------------------------------------------------------- at the n-th change of the files


def at_a_change(trial: Trial, bases: Bases) -> None:
    start, _, place = trial.case.where.partition("/")
    who, _, at = place.partition("@")
    words = begin(trial, bases, start)
    how = trial.case.how.partition("-")[0] if trial.case.how.startswith("stop") else trial.case.how
    process = trial.bench.start(words, Fault(how, who, int(at)))
    if how == "stop":
        _release(trial, words, process)
    else:
        done = trial.note(words, process.done())
        if done.status == 0:
            trial.wrong += _differences(trial)
    settle()
    trial.recover(words)


def _release(trial: Trial, words: Sequence[str], process: Process) -> None:
    """A process of this command stopped: it goes on later, or is killed, or the command is run beside it."""
    stopped = await_stop(trial.bench, process)
    if stopped and trial.case.how == "stop-rerun":
        if stopped != process.pid:
            process.kill()
        beside = trial.bench.start(words)
        _wait(beside, PATIENCE_S)
        os.kill(stopped, signal.SIGKILL)
        trial.note(words, beside.done())
    elif stopped and trial.case.how == "stop-kill":
        os.kill(stopped, signal.SIGKILL)
    elif stopped:
        os.kill(stopped, signal.SIGCONT)
    trial.note(words, process.done())


def await_stop(bench: Bench, process: Process) -> int:
    """The process that stopped; 0 if the command ended before that."""
    while process.poll() is None:
        stopped = bench.gauge.stopped
        if stopped and _state(stopped) == "T":
            return stopped
        time.sleep(0.002)
    return 0


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _wait(process: Process, most_s: float) -> None:
    end = time.monotonic() + most_s
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


def _differences(trial: Trial) -> list[str]:
    """A command that says all is well is held to it at once."""
    now = trial.bench.state()
    return [] if now.result == trial.reference.result else ["status 0, and the result is not there or another"]


# ------------------------------------------------------------------------------------------------ damage on the disk


def damage(trial: Trial, bases: Bases) -> None:
    base, kind, resting = _place(trial.case.where)
    bases.restore(base)
    words = bases.sweep
    if base == DONE:
        trial.bench.run(words)  # what is cached about its files is about these files
    path = _damage(trial, kind, resting)
    if owes_a_word(kind) and base == DONE:
        trial.damaged = tuple(filter(None, (stage_of(trial.bench.home, path), str(path))))
    if not resting and base == DONE and owes_a_word(kind):
        trial.run(words)
        if not trial.said():
            trial.run(["store", "check"])  # nothing read it: whoever looks must find it
    trial.recover(words)


def _place(where: str) -> tuple[str, str, bool]:
    """Base, kind of file, whether what rests on it is removed."""
    base = DONE
    if where.partition("/")[0] in (*BASES, "half-checkpoint"):
        base, _, where = where.partition("/")
    return base, where.removesuffix("+resting"), where.endswith("+resting")


def _damage(trial: Trial, kind: str, resting: bool) -> Path:
    home = trial.bench.home
    path = kinds_of(home)[kind]
    if resting:
        remove_resting(home, path)
    trial.begin()
    DAMAGES[trial.case.how](path)
    trial.hit = stage_of(home, path) if explains_remaking(kind) else None
    return path


def checked(trial: Trial, bases: Bases) -> None:
    """`store check` finds it, repairs it when asked to, and the sweep completes what is missing."""
    bases.restore(DONE)
    kind = trial.case.where
    path = _damage(trial, kind, resting=False)
    found = trial.run(WORDS["check"])
    if owes_a_word(kind):
        trial.damaged = tuple(filter(None, (stage_of(trial.bench.home, path), str(path))))
        if found.status != 1 or not trial.said():
            trial.silent.append(f"`store check` ends with {found.status} and does not name {path.name}")
    trial.run(WORDS["check-fix"])
    trial.recover(SWEEP)
    again = trial.run(WORDS["check"])
    if again.status != 0 and not kind.startswith("results/"):
        trial.wrong.append("`store check` still finds damage after the repair and the sweep")


def pruned(trial: Trial, bases: Bases) -> None:
    """A prune behind a damage removes nothing that a result rests on."""
    bases.restore(DONE)
    _damage(trial, trial.case.where, resting=False)
    done = trial.run(WORDS["prune-yes"])
    assert trial.before is not None
    now = trial.bench.state()
    kept = {each for each in trial.before.products if not each.startswith("squares_shard/")} - {trial.hit}
    lost = sorted(each for each in kept if now.products.get(each) != trial.before.products[each])
    if lost and not trial.case.where.startswith("results/"):
        trial.wrong.append(f"prune (status {done.status}) removed what a result rests on: {', '.join(lost)}")
    trial.recover(SWEEP)


def dear(trial: Trial, bases: Bases) -> None:
    """What was expensive is not made again unasked: the command stops with the price, and redo= makes it."""
    bases.restore(DONE)
    words = (*SWEEP, DEAR)
    where, _, resting = trial.case.where.partition("+")
    trial.bench.run([*words, f"redo={where}"])  # its record has its price now
    path = _damage(trial, f"{where}/out/weights.bin", bool(resting))
    trial.damaged = tuple(filter(None, (stage_of(trial.bench.home, path), str(path))))
    done = trial.run(words)
    if any(call.startswith(f"{where}/") for call in trial.bench.calls()):
        trial.wrong.append(f"{where}: made again at a price that nobody agreed to")
    if resting and (done.status == 0 or f"redo={where}" not in done.output or "USD" not in done.output):
        trial.wrong.append(f"status {done.status}, and no line names the price and redo={where}")
    trial.recover(words)


def over_results(trial: Trial, bases: Bases) -> None:
    """Neither a file of the user's in a result folder nor an earlier result goes away."""
    bases.restore(DONE)
    home = trial.bench.home
    result = result_folder(home / "results")
    assert result is not None
    notes = [home / "results" / "faults" / "my notes.txt", result / "my notes.txt"]
    for path in notes:
        path.write_text("mine", encoding="utf-8")
    table = (result / "table.csv").read_bytes()
    trial.begin()
    trial.run(WORDS[trial.case.how])
    kept = {path.read_bytes() for path in (home / "results").rglob("table.csv")}
    if trial.case.where == "notes":
        trial.wrong += [f"{path} is gone" for path in dict.fromkeys(notes) if not path.exists()]
    elif table not in kept:
        trial.wrong.append("the earlier result is no longer there")
    for path in notes:
        path.unlink(missing_ok=True)
    trial.recover(SWEEP)


# ------------------------------------------------------------------------------------------- several at the same time


def beside(trial: Trial, bases: Bases) -> None:
    """A process of the sweep stops at a change; another command runs as far as it can; then the sweep goes on."""
    start, _, place = trial.case.where.partition("/")
    who, _, at = place.partition("@")
    words = begin(trial, bases, start)
    process = trial.bench.start(words, Fault("stop", who, int(at)))
    stopped = await_stop(trial.bench, process)
    second = WORDS[trial.case.how]
    other = trial.bench.start(second)
    _wait(other, PATIENCE_S)
    if stopped:
        os.kill(stopped, signal.SIGCONT)
    trial.note(second, other.done())
    trial.note(words, process.done())
    settle()
    trial.recover(words)
    shutil.rmtree(trial.bench.results / "longer", ignore_errors=True)


def at_once(trial: Trial, bases: Bases) -> None:
    """Identical sweeps: every one of them succeeds."""
    words = begin(trial, bases, "fresh")
    fault = Fault("lock-noop") if trial.case.how.startswith("noop") else None
    sweeps = [trial.bench.start(words, fault) for _ in range(int(trial.case.where.split()[0]))]
    for each in sweeps:
        done = trial.note(words, each.done())
        if done.status != 0:
            trial.wrong.append(f"one of the sweeps ended with status {done.status}")
    settle()
    trial.recover(words)


# ----------------------------------------------------------------------------------------------- clock, lock, tracker


def clock(trial: Trial, bases: Bases) -> None:
    words = begin(trial, bases, trial.case.where)
    how = trial.case.how
    if how.startswith("files-"):
        at = 1e9 if how == "files-old" else 4e9
        for path in trial.bench.home.rglob("*"):
            os.utime(path, (at, at), follow_symlinks=False)
    else:
        trial.run(words, fault=Fault(how))
    trial.recover(words)


def locks(trial: Trial, bases: Bases) -> None:
    if trial.case.how == "held":
        _held(trial, bases)
        return
    if trial.case.where.endswith("sweeps"):
        at_once(trial, bases)
        return
    words = begin(trial, bases, trial.case.where)
    done = trial.run(words, fault=Fault(trial.case.how))
    if done.status != 0:
        trial.wrong.append(f"status {done.status} where ownership tokens do without locks")
    if trial.case.how != "lock-noop" and str(trial.bench.home) not in done.output:
        trial.wrong.append("no line names the file that cannot be locked")
    settle()
    trial.recover(words)


def _held(trial: Trial, bases: Bases) -> None:
    """Another process holds a lock: it is waited for, or refused in one line, and nothing is lost."""
    words = begin(trial, bases, "done" if trial.case.where == "publishing" else "damaged")
    store, where = trial.bench.store, trial.case.where
    files = {"store": store / "lock", "publishing": store / "publishing"}
    file = files.get(where) or next(store.glob(f"{where}/*/lock"), None)
    if file is None:  # nothing of that stage is there any more: a lock that comes before the stage
        file = next(iter(sorted(store.glob("answers/*")))) / "lock"
    with _locked(file):
        process = trial.bench.start(words)
        _wait(process, PATIENCE_S)
    trial.note(words, process.done())
    trial.recover(words)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(held, fcntl.LOCK_UN)  # forks inherited the open file: closing it here would free nothing


CHOIR = ("number=1,2", "name=choir", "together=true")


def group(trial: Trial, bases: Bases) -> None:
    """One of the processes that make a stage together, or of those that lead them, is sent a signal."""
    if bases.choir is None:
        bases.restore("fresh")
        trial.bench.run(CHOIR)
        bases.choir = trial.bench.state()
    bases.restore("fresh")
    trial.reference = bases.choir
    trial.begin()
    struck = trial.bench.calls_file.with_name("struck")
    struck.unlink(missing_ok=True)
    with environment({STRIKE: f"{trial.case.where} {trial.case.how}"}):
        done = trial.note(CHOIR, trial.bench.run(CHOIR))
    if not struck.exists():
        trial.wrong.append(f"the suite failed: no signal was sent, status {done.status}")
    settle()
    trial.recover(CHOIR)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Of the processes started meanwhile."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def tracker(trial: Trial, bases: Bases) -> None:
    """Whatever the mirror raises, the result is complete."""
    if trial.case.where == "W&B":
        _wandb(trial, bases)
        return
    words = begin(trial, bases, "fresh")
    done = trial.run([*words, f"mirror={trial.case.how}"])
    if done.status != 0:
        trial.wrong.append(f"status {done.status} because of the tracker")
    if "tracker is out of order" not in done.output:
        trial.wrong.append("no warning says what the tracker raised")
    trial.recover(words)


def _wandb(trial: Trial, bases: Bases) -> None:
    """A server of W&B that is out of order, as the real mirror meets it."""
    bases.restore(DONE)
    trial.begin()
    words = (*bases.sweep, "track.wandb=true")
    with out_of_order(trial.case.how) as address, environment({"WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40}):
        done = trial.run(words)
    if done.status != 0 or "the result is complete without it" not in done.output:
        trial.wrong.append(f"status {done.status}, or no line that says that W&B was not reached")
    clear(trial.bench)
    bases.restore(DONE)  # the report names the command that made it: this one is another
    trial.begin()
    trial.recover(bases.sweep)


Scenario = Callable[[Trial, Bases], None]
SCENARIOS: Mapping[str, Scenario] = {
    **dict.fromkeys(("flip", "truncate", "empty", "remove", "replace"), damage),
    "check": checked,
    "prune": pruned,
    "beside": beside,
    "at once": at_once,
    "clock": clock,
    "lock": locks,
    "tracker": tracker,
    "dear": dear,
    "group": group,
    "results": over_results,
    "disk full": disks.disk_full,
    "read-only": disks.read_only,
}


def scenario_of(case: Case) -> Scenario:
    """A fault at the n-th change is made in one way, whatever its kind."""
    return at_a_change if "@" in case.where and case.kind != "beside" else SCENARIOS[case.kind.removeprefix(REAL)]
