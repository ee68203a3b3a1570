"""Detect and end a worker without progress, by watching the files that it writes.

Progress is any change of progress.json, the log, the attempt and scratch folders, or files below the store that its
processes have open. Loading (before progress.json exists) is exempt, but a stopped process is not. Each interval
between two samples counts at most `LONGEST_LOOK_S`, so that a clock change, a sleeping laptop or a stopped watcher does
not make a worker look frozen.

    python -m sweep.worker.stall --worker PID --minutes 60 DIR [DIR ...]    started by sweep.worker.run
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sweep.claims.claim import holder_of
from sweep.claims.holder import Holder, HolderState
from sweep.store.directory import StageDirectory, write_json
from sweep.store.status_files import now
from sweep.store.tail import MACHINE
from sweep.worker.processes import end_all, is_stopped, open_files, tree_of

LONGEST_LOOK_S = 10.0
LOOK_INTERVAL_S = 2.0
GRACE_S = 5.0  # from SIGTERM to SIGKILL
MACHINE_FILE = MACHINE.file(Path()).name  # grows whether the worker gets on or not
SHOWN_S = 60.0  # shorter ages are not shown

FileStates = Mapping[str, tuple[int, int]]  # by path: size, mtime in ns


@dataclass(frozen=True)
class Activity:
    """Visible state of a worker at one moment."""

    files: FileStates
    is_loading: bool  # progress.json does not exist yet
    is_stopped: bool = False  # by a signal
    held_by: Holder | None = None  # another process that it waits for


@dataclass(frozen=True)
class StallWatch:
    """Accumulated observations of a worker."""

    files: FileStates
    idle_s: float = 0.0  # observed time since the files last changed
    has_begun: bool = False


def watched(watch: StallWatch | None, look: Activity, since_last_s: float) -> StallWatch:
    """Add the sample `look`, `since_last_s` seconds (monotonic) after the previous one."""
    if look.held_by is not None:
        return StallWatch(look.files)
    has_begun = (watch is not None and watch.has_begun) or not look.is_loading
    is_exempt = not has_begun and not look.is_stopped
    if watch is None or watch.files != look.files or is_exempt:
        return StallWatch(look.files, 0.0, has_begun)
    return replace(watch, idle_s=watch.idle_s + min(max(since_last_s, 0.0), LONGEST_LOOK_S), has_begun=has_begun)


def is_stalled(watch: StallWatch, stall_minutes: float | None) -> bool:
    """Whether the worker has been without progress for too long; None disables the check."""
    return stall_minutes is not None and watch.idle_s >= 60 * stall_minutes


def activity_of(directories: Sequence[StageDirectory], worker: int) -> Activity:
    """Current activity of a worker; `worker` is the process ID of its top process."""
    processes = tree_of(worker)
    roots = {f"{directory.root}/" for directory in directories}
    paths = [path for directory in directories for path in _written(directory)]
    paths += [Path(path) for path in open_files(processes) if any(path.startswith(root) for root in roots)]
    paths = [path for path in paths if path.name != MACHINE_FILE]
    found = next(
        (found for each in directories if (found := holder_of(each.path, lambda _: HolderState.AT_WORK))), None
    )
    is_own = found is not None and found[0].host == platform.node() and found[0].pid in processes
    return Activity(
        files=dict(_states(paths)),
        is_loading=not is_own or not any(directory.progress_file.exists() for directory in directories),
        is_stopped=is_stopped(worker),
        held_by=found[0] if found is not None and found[1] is HolderState.AT_WORK and not is_own else None,
    )


def _written(directory: StageDirectory) -> Iterator[Path]:
    """Files of the running attempt; earlier artifacts and logs do not change."""
    yield from (directory.progress_file, directory.log_file, directory.record_file)
    for folder in (*directory.path.glob("out*"), directory.scratch):
        if folder.is_symlink() or (directory.is_done and folder != directory.scratch):
            continue
        for parent, folders, names in os.walk(folder):
            yield from (Path(parent, name) for name in (*folders, *names))


def _states(paths: Iterable[Path]) -> Iterator[tuple[str, tuple[int, int]]]:
    for path in paths:
        with suppress(OSError):  # removed since it was listed
            status = path.stat()
            yield str(path), (status.st_size, status.st_mtime_ns)


def age_s(directories: Iterable[StageDirectory]) -> float | None:
    """Seconds by the clock since the newest progress.json or log changed, for display; None without such a file."""
    files = [file for each in directories for file in (each.progress_file, each.log_file)]
    newest = max((state[1] for _, state in _states(files)), default=None)
    return None if newest is None else max(0.0, time.time() - newest / 1e9)


def end_stalled(
    directories: Sequence[StageDirectory], worker: int, watch: StallWatch, grace_s: float = GRACE_S
) -> None:
    """End a worker with all its processes, and record the reason."""
    _record_reason(directories, watch)  # first, because the job reads it as soon as its worker ends
    end_all(worker, grace_s)
    _record_reason(directories, watch)


def _record_reason(directories: Sequence[StageDirectory], watch: StallWatch) -> None:
    for directory in directories:
        if directory.is_done:
            directory.failed_file.unlink(missing_ok=True)  # it finished after all
        elif directory.path.is_dir():
            message = reason(directory, watch)
            write_json(
                directory.failed_file,
                {"error": message, "message": message, "traceback": "", "failed_at": now()},
            )


def reason(directory: StageDirectory, watch: StallWatch) -> str:
    """Message of failed.json for an ended worker."""
    return (
        f"no progress for {watch.idle_s / 60:.1f} minutes{_last_progress(directory)}: ended. Run the same command"
        " again to resume. A higher launch.stall_minutes waits longer, null forever."
    )


def _last_progress(directory: StageDirectory) -> str:
    with suppress(OSError):
        seen = directory.progress_file.read_text(encoding="utf-8").strip()
        return f", last seen at {seen}"
    return ""


@contextmanager
def stall_watcher(directories: Sequence[StageDirectory], stall_minutes: float | None) -> Generator[None]:
    """While the context is open, a separate process watches this worker and ends it if it stalls."""
    if stall_minutes is None:
        yield
        return
    options = ("--worker", str(os.getpid()), "--minutes", str(stall_minutes))
    watcher = subprocess.Popen(
        [sys.executable, "-m", "sweep.worker.stall", *options, *(str(each.path) for each in directories)]
    )
    try:
        yield
    finally:
        watcher.kill()
        watcher.wait()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sweep.worker.stall", description=__doc__)
    parser.add_argument("directories", nargs="+", type=Path)
    parser.add_argument("--worker", type=int, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--grace", type=float, default=GRACE_S)
    arguments = parser.parse_args(argv)
    directories = [StageDirectory(path) for path in arguments.directories]
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the worker gets them too, and its end ends this
    watch: StallWatch | None = None
    last = time.monotonic()
    pause_s = min(LOOK_INTERVAL_S, 6 * arguments.minutes)
    while os.getppid() == arguments.worker:
        at = time.monotonic()
        watch, last = watched(watch, activity_of(directories, arguments.worker), at - last), at
        if is_stalled(watch, arguments.minutes):
            print(f"{directories[0].address}: {reason(directories[0], watch)}", file=sys.stderr, flush=True)
            end_stalled(directories, arguments.worker, watch, arguments.grace)
            return 1
        time.sleep(pause_s)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
