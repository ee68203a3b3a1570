"""Runs the project's commands in forks of a warm process: imports run once, and a command takes milliseconds.

A fork behaves as `python -m sweep ...` and `python -m sweep.worker.run ...` do: sessions, signals, exit statuses,
output in a
file. What stands in for starting an interpreter is listed in `seams`, and nothing else of the product is touched.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

import sweep.__main__ as entry
import sweep.cli.run
import sweep.cli.store
import sweep.core.provenance
import sweep.local.workers
import sweep.worker.run
from sweep.config.compose import Composition, compose, compose_entry, pipeline_of
from sweep.errors import InputError
from tests.faults import faults, pipeline
from tests.faults.faults import DRIVER, Fault, Gauge
from tests.faults.state import State, state_of

CONFIG = Path(__file__).parent / "conf"
POLL_INTERVAL_S = 0.002
LIMIT_S = 60.0  # a command that takes longer hangs
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    status: int  # of the shell: 137 for SIGKILL
    output: str
    hung: bool = False


@dataclass
class Process:
    """A forked command, as subprocess.Popen shows one."""

    pid: int
    returncode: int | None = None
    output_file: Path | None = None
    limit_s: float = LIMIT_S

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            time.sleep(POLL_INTERVAL_S)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def done(self) -> Done:
        """Wait for its end; what takes longer than the limit is killed and called hung."""
        hung = False
        try:
            status = self.wait(self.limit_s)
        except subprocess.TimeoutExpired:
            hung = True
            self.kill()
            status = self.wait()
        assert self.output_file is not None
        output = self.output_file.read_text(encoding="utf-8", errors="replace")
        return Done(128 - status if status < 0 else status, output, hung)


def forked(child: Callable[[], int], output: int) -> Process:
    """Run `child` as a process of its own session, whose output goes to a descriptor."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        os.read(reading, 1)  # it has its session now: its group can be signalled
        os.close(reading)
        return Process(pid)
    status = 1
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
        os.close(reading)
        os.close(writing)
        status = child()
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        _leave(status)
    raise AssertionError("unreachable")


def _leave(status: int) -> None:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


@dataclass
class Bench:
    """One user's store and results, made anew for every case at the same place, and the commands run there."""

    home: Path
    pipeline: str = "tests.faults.pipeline"
    config: Path = CONFIG
    limit_s: float = LIMIT_S
    begin_worker: Callable[[int], None] | None = None  # given its threads; None: its stage functions count their calls
    leave_out: tuple[str, ...] = ()  # of records and manifests: what tells how often work was resumed
    gauge: Gauge = field(default_factory=Gauge)
    trace: Path | None = None
    started: int = 0
    user: int | None = None  # id of the user that commands run as; None: ours

    @property
    def store(self) -> Path:
        return self.home / "store"

    @property
    def results(self) -> Path:
        return self.home / "results"

    @property
    def calls_file(self) -> Path:
        return self.home.parent / "calls.txt"

    def calls(self) -> list[str]:
        """Addresses of the stages whose functions were called, one for each call."""
        return self.calls_file.read_text(encoding="utf-8").splitlines() if self.calls_file.exists() else []

    def state(self) -> State:
        return state_of(self.home, self.leave_out)

    def places(self) -> list[str]:
        return [f"store={self.store}", f"results={self.results}"]

    def start(self, words: Sequence[str], fault: Fault | None = None) -> Process:
        """`python -m sweep WORDS`, in the background."""
        self.started += 1
        argv = self._argv(words)
        _compose_ahead(argv, self.config)
        output_file = self.home.parent / f"output-{self.started}.txt"
        with output_file.open("wb") as output:
            process = forked(lambda: self._drive(argv, fault), output.fileno())
        process.output_file, process.limit_s = output_file, self.limit_s
        return process

    def run(self, words: Sequence[str], fault: Fault | None = None) -> Done:
        return self.start(words, fault).done()

    def _argv(self, words: Sequence[str]) -> list[str]:
        is_sweep = not words or "=" in words[0] or words[0] == "publish"
        return [*words, *self.places(), f"pipeline={self.pipeline}", *(["-m"] if is_sweep else [])]

    def _drive(self, argv: Sequence[str], fault: Fault | None) -> int:
        sys.argv = ["sweep", *argv]
        os.environ.update({pipeline.CALLS: str(self.calls_file), "COLUMNS": "400"})
        names: dict[str, int] = {}

        def spawn(command: Sequence[str], log: IO[bytes], threads: int) -> Process:
            arguments = list(command[command.index("sweep.worker.run") + 1 :])
            first = next(Path(each).parent.name for each in arguments if each.startswith("/"))
            names[first] = names.get(first, 0) + 1
            who = first if names[first] == 1 else f"{first}.{names[first]}"
            if self.begin_worker is not None:
                self._note_calls(arguments)
            return forked(lambda: self._work(arguments, who, fault, threads), log.fileno())

        _exchange(sweep.local.workers, "_spawn", spawn)
        if self.user is not None:
            os.setgroups([])
            os.setgid(self.user)
            os.setuid(self.user)
        faults.arm(self.home, DRIVER, fault, self.gauge, self.trace)
        return entry.main()

    def _note_calls(self, arguments: Sequence[str]) -> None:
        places = [Path(each) for each in arguments if each.startswith("/")]
        with self.calls_file.open("a", encoding="utf-8") as calls:
            calls.write("".join(f"{each.parent.name}/{each.name}\n" for each in places))

    def _work(self, arguments: Sequence[str], who: str, fault: Fault | None, threads: int) -> int:
        sys.argv = ["sweep.worker.run", *arguments]
        if self.begin_worker is not None:
            self.begin_worker(threads)
        faults.arm(self.home, who, fault, self.gauge, self.trace)
        return sweep.worker.run.main(arguments)


# ------------------------------------------------------------------------------------------------------------ seams


def warm_up() -> None:
    """Once, before the first fork: what stands in for starting an interpreter, and what every process would repeat."""
    become_subreaper()
    faults.install()
    _exchange(sweep.cli.store, "compose_entry", _composed_entry)
    _exchange(sweep.core.provenance, "_git", lambda *arguments: "0" * 40 if arguments[0] == "rev-parse" else "")
    _exchange(sweep.core.provenance, "_package_versions", cache(sweep.core.provenance._package_versions))
    _exchange(sweep.local.workers, "POLL_INTERVAL_S", POLL_INTERVAL_S)
    sweep.core.provenance.provenance()


def _exchange(module: Any, name: str, value: object) -> None:
    """Raises AttributeError if the product no longer has that seam."""
    getattr(module, name)
    setattr(module, name, value)


def _compose_ahead(argv: Sequence[str], config: Path) -> None:
    """What the fork will ask Hydra, while the answer can be kept; a command line at fault is answered there."""
    _exchange(sweep.cli.run, "compose", lambda argv: _compose_once(tuple(argv), config))
    with suppress(InputError):
        if argv[-1] == "-m":
            composed = _compose_once(tuple(argv), config)
            pipeline_of(composed.entry.pipeline).graph(composed.points, composed.request)
        elif argv[0] == "store":
            _composed_entry([each for each in argv[1:] if each.partition("=")[0] in ("store", "results", "pipeline")])


@cache
def _compose_once(argv: tuple[str, ...], config: Path) -> Composition:
    return compose(argv, config)


@cache
def _entry_once(overrides: tuple[str, ...]) -> Any:
    return compose_entry(overrides)


def _composed_entry(overrides: Sequence[str]) -> Any:
    return _entry_once(tuple(overrides))


def become_subreaper() -> None:
    """Workers whose driver died become our children, so that their end can be awaited."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[int]:
    """Processes below this one."""
    found, waiting = [], [os.getpid()]
    while waiting:
        process = waiting.pop()
        try:
            children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
        except OSError:
            continue
        found += map(int, children)
        waiting += map(int, children)
    return found


def settle(limit_s: float = 20.0) -> None:
    """Wait for what outlives its driver: workers end by themselves when that is gone."""
    end = time.monotonic() + limit_s
    while _reap() and time.monotonic() < end:
        time.sleep(POLL_INTERVAL_S)


def kill_descendants() -> None:
    """Nothing of a case is left at work."""
    while found := descendants():
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        _reap()


def _reap() -> bool:
    """Take the status of every child that ended; whether there is another."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if not pid:
            return True
