"""Make the stages of the given directories in this process: `python -m sweep.worker.run DIR [DIR ...]`.

`DIR/stage.json` contains everything needed. The local launcher, batch jobs and users who repeat one stage run the same
command. Several directories form one batch. A stage with several processes runs as a group of ranks
(sweep/worker/ranks.py).

Exit status 0: all stages are done; 1: a stage failed, see `failed.json`; 5: a limit on the cost stopped a stage, see
the same file; 74: the error could not be written; 75: interrupted, the same command resumes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from sweep.claims.claim import WAIT, Rule
from sweep.core.identity import SHORT_DIGEST_CHARACTERS, cite, shortened
from sweep.core.interrupt import EXIT_REQUEUE, end_on_request, wake_when_parent_ends
from sweep.core.provenance import provenance
from sweep.core.spending import EXIT_LIMIT, LimitReached
from sweep.core.stage import FileInput, Finished, Interrupted, Shard, Work, installed_version
from sweep.core.targets import function_of, schema_of
from sweep.core.typed import typed
from sweep.json_files import put_folder_aside
from sweep.secrets import redacted
from sweep.source.digest import SourceError, changed_files
from sweep.source.memo import remembered_source
from sweep.store.attempt import RunOrigin, begin, forget_hashes, record_of, restore
from sweep.store.checksums import changed_files_by_hash
from sweep.store.directory import StageDirectory, Store, StoreError, description_faults, write_json
from sweep.store.documents import Place, SourceJson, StageJson, StagePlace
from sweep.store.generations import shared_now
from sweep.store.permission import explained, is_refused
from sweep.store.status_files import failure_of, is_limited, now, reporter
from sweep.store.temporary import is_alive
from sweep.worker.machine import MachineSampler
from sweep.worker.meter import Meter, metered
from sweep.worker.ranks import (
    SINGLE_RANK,
    STANDALONE,
    Rank,
    announced,
    await_announcement,
    await_ranks,
    launch_ranks,
    mark_finished,
    processes_for,
    this_rank,
)
from sweep.worker.stall import stall_watcher


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sweep.worker.run", description=__doc__)
    parser.add_argument("directories", nargs="+", type=Path)
    parser.add_argument("--parent", type=int, help="end when this process, the parent, has ended")
    parser.add_argument("--leader", type=int, help="end when this process, the leader of the group, has ended")
    parser.add_argument("--unless-busy", action="store_true", help="skip stages that another process is making")
    parser.add_argument(
        "--take-over", action="store_true", help="take a stage from a holder whose state cannot be checked"
    )
    parser.add_argument("--stall-minutes", type=_minutes, help="stop after this time without progress; none: never")
    parser.add_argument("--rendezvous", help="torchrun's rendezvous options for several nodes, as one argument")
    parser.add_argument("--each", action="store_true", help="make the stages one after the other, not as one batch")
    arguments = parser.parse_args(argv)
    for process, exists in ((arguments.parent, _is_parent), (arguments.leader, is_alive)):
        if process:
            _end_with(process, exists)
    directories = [StageDirectory(path.resolve()) for path in arguments.directories]
    for each in directories:
        if not each.stage_file.exists():
            print(
                f"{each.path}: not a stage directory, it has no {each.stage_file.name}. Give the directory of a stage.",
                file=sys.stderr,
            )
            return 1
    rank = this_rank(os.environ)
    processes = processes_for(directories)
    if rank.group is None and (processes > 1 or arguments.rendezvous):
        rendezvous = arguments.rendezvous.split() if arguments.rendezvous else STANDALONE
        with stall_watcher(directories, arguments.stall_minutes):
            return launch_ranks(directories, processes, rendezvous, ["--take-over"] if arguments.take_over else [])
    end_on_request()
    groups = [[each] for each in directories] if arguments.each else [directories]
    rule = Rule(not arguments.unless_busy, arguments.take_over)
    try:
        made: list[bool] = []
        for group in groups:
            with stall_watcher(group, arguments.stall_minutes if rank.group is None else None):
                made.append(run(group, rank, rule))
        return 0 if all(made) else EXIT_LIMIT if any(is_limited(each.failed_file) for each in directories) else 1
    except Interrupted:
        return EXIT_REQUEUE
    except OSError as error:
        with suppress(OSError):  # the log is on the same disk, so the exit status may be the only report
            print(explained(error), file=sys.stderr, flush=True)
        return os.EX_IOERR


def run(directories: Sequence[StageDirectory], rank: Rank = SINGLE_RANK, rule: Rule = WAIT) -> bool:
    """Make all unfinished stages; False if any failed. Raises Interrupted after a stop signal."""
    if not rank.is_first:
        return _run_follower(directories, rank)
    ordered = sorted(directories, key=lambda each: each.path)  # the same order everywhere prevents a deadlock
    with ExitStack() as locks:
        for directory in ordered:
            try:
                is_ours = locks.enter_context(directory.locked(rule))
            except StoreError as error:  # the state of its holder cannot be checked
                if directory.is_done:
                    continue
                unfinished = {each.path.name: each for each in directories if not each.is_done}
                return _attempt(partial(_raise, error), unfinished, rank)
            if not is_ours:
                print(f"{directory.address}: another process is making it. Skipped.")
                return True
        for directory in ordered:
            if restore(directory):
                print(f"{directory.address}: its record was lost or damaged. Restored from its second copy.")
        waiting = {
            each.path.name: each for each in directories if not each.is_done
        }  # another process may have finished some while we waited for the locks
        for directory in waiting.values():
            put_folder_aside(directory.progress_file)
            directory.progress_file.unlink(missing_ok=True)  # written by an earlier attempt
        return not waiting or _attempt(lambda: _make(directories, waiting, rank), waiting, rank)


def _raise(error: StoreError) -> None:
    raise error


def _run_follower(directories: Sequence[StageDirectory], rank: Rank) -> bool:
    """Run the functions without publishing, which rank 0 does."""
    make = await_announcement(directories, rank)
    waiting = {each.path.name: each for each in directories if each.path.name in make}

    def run_functions() -> None:
        for finished in _finish(waiting, {key: _described(each) for key, each in waiting.items()}, rank, {}, None):
            mark_finished(waiting[finished.key], rank)

    return not waiting or _attempt(run_functions, waiting, rank)


def _attempt(make: Callable[[], None], waiting: Mapping[str, StageDirectory], rank: Rank) -> bool:
    """Call `make`. Record an interruption and raise it again; record and print any other error and return False."""
    try:
        make()
    except Interrupted as stop:
        for directory in waiting.values():  # every rank writes it: the first to exit makes torchrun stop the others
            write_json(directory.interrupted_file, {"message": str(stop), "at": now()})
        raise
    except Exception as error:
        if isinstance(error, StoreError | LimitReached) or is_refused(error):
            text = explained(error) if isinstance(error, OSError) else str(error)
        else:
            text = traceback.format_exc()
        print(redacted(text), file=sys.stderr, flush=True)
        for directory in waiting.values():
            if rank.group is None or not directory.failed_file.exists():  # the first failure is the cause
                write_json(directory.failed_file, failure_of(error))
        return False
    return True


@dataclass
class _Clock:
    """Seconds since the last call, so that the times of a batch's stages add up to the total."""

    last: float = field(default_factory=time.monotonic)

    def lap(self) -> float:
        before, self.last = self.last, time.monotonic()
        return self.last - before


def _make(directories: Sequence[StageDirectory], waiting: dict[str, StageDirectory], rank: Rank) -> None:
    """Make and publish the stages; removes published ones from `waiting`."""
    clock, environment = _Clock(), provenance()
    stages = {key: _described(directory) for key, directory in waiting.items()}
    codes = {key: code_of(stage) for key, stage in stages.items()}
    for key, directory in waiting.items():
        _require_consistent_inputs(directory.root, stages[key])
    _require_intact([each for key, directory in waiting.items() for each in _dependencies(directory.root, stages[key])])
    read = {key: _digests_read(directory.root, stages[key]) for key, directory in waiting.items()}
    machine = MachineSampler(list(waiting.values()), rank)
    with ExitStack() as held:
        meter = held.enter_context(metered(list(waiting.values()), list(stages.values())))
        attempts = {key: begin(directory) for key, directory in waiting.items()}  # clears the folder of the next file
        held.enter_context(announced(directories, rank, list(waiting)))
        held.enter_context(machine)
        outs = {key: attempt.out for key, attempt in attempts.items()}
        for finished in _finish(waiting, stages, rank, outs, meter):
            await_ranks(waiting[finished.key], rank)
            directory, stage = waiting[finished.key], stages[finished.key]
            shards = [StageDirectory(directory.root / each["stage"]).read_record() for each in stage["shards"]]
            machine.leave(directory)
            origin = RunOrigin(codes[finished.key], read[finished.key], directory.generation, environment)
            if not attempts[finished.key].publish(record_of(stage, finished, clock.lap(), shards, origin)):
                print(f"{directory.address}: another worker published it first. This attempt is discarded.")
            meter.published(directory.address)
            del waiting[finished.key]
    if waiting:
        raise StoreError(f"stages {', '.join(waiting)}: the function returned without yielding them. Fix it.")


def _described(directory: StageDirectory) -> StageJson:
    """Read stage.json. Raises StoreError if it does not describe the stage of this directory."""
    stage = directory.read_stage()
    if faults := description_faults(directory, stage):
        raise StoreError(f"{directory.address}: {faults[0]}. Run the sweep again to rewrite it.")
    return stage


def _require_intact(inputs: Sequence[StageDirectory]) -> None:
    """Hash every byte of the inputs, once each. Raises StoreError if an input is damaged.

    The bytes stay in the page cache, so loading a model afterwards is fast.
    """
    for directory in {each.path: each for each in inputs}.values():
        if faults := directory.faults(changed_files_by_hash):
            forget_hashes(directory)
            raise StoreError(
                f"input {directory.address}: damaged, {faults[0]}. Run the sweep again: it makes the input"
                " again, or prints what that costs if it is above cost.remake_limit_usd."
            )


def code_of(stage: StageJson) -> SourceJson:
    """Root functions and source digests of a stage. Raises StoreError if the code is not the code that was planned."""
    roots = stage.get("roots", [stage["run"]])
    try:
        files = dict(remembered_source(tuple(roots)))
    except SourceError:  # a function outside any project
        files = {}
    planned = stage["identity"].get("code")
    if planned is not None:
        here = {**files, **{name: installed_version(name) for name in planned["packages"]}}
        if changed := changed_files({**planned["files"], **planned["packages"]}, here):
            raise StoreError(f"{', '.join(changed)}: changed since this stage was planned. Run the sweep again.")
    return {"roots": list(roots), "files": files}


def _digests_read(root: Path, stage: StageJson) -> dict[str, str]:
    return {each.address: each.digest for each in _dependencies(root, stage)}


def _dependencies(root: Path, stage: StageJson) -> list[StageDirectory]:
    """Inputs and shards that are stages. Raises StoreError if one is not finished."""
    places = [*(place for places in stage["inputs"].values() for place in places), *stage["shards"]]
    directories = [StageDirectory(root / place["stage"]) for place in places if "stage" in place]
    for each in directories:
        if not each.is_done:
            raise StoreError(f"input {each.address}: not finished. Run the sweep again to make it first.")
    return directories


def _require_consistent_inputs(root: Path, stage: StageJson) -> None:
    """Refuse inputs that were made from an earlier version of another input, such as answers to older questions."""
    inputs = _dependencies(root, stage)
    current = {each.address: each.digest for each in inputs}
    for each in inputs:
        for address, before in each.read_record().get("inputs", {}).items():
            if address in current and before != current[address]:
                raise StoreError(
                    f"input {each.address}: made from {shortened(cite(address, before))}, which is"
                    f" @{current[address][:SHORT_DIGEST_CHARACTERS]} now. Run the sweep again with"
                    f" redo={each.path.parent.name} to make it from the current one."
                )


def _digest(root: Path, place: Place) -> str:
    return place["key"] if "file" in place else StageDirectory(root / place["stage"]).digest


def _finish(
    waiting: Mapping[str, StageDirectory],
    stages: Mapping[str, StageJson],
    rank: Rank,
    outs: Mapping[str, Path],
    meter: Meter | None,
) -> Iterator[Finished]:
    """Run the functions. `outs`: output folders of rank 0, by key; other ranks write to unused folders.

    `meter`: None for the other ranks, which stop when rank 0 does.
    """
    works = [
        _limited(_work(directory, stages[key], rank, outs.get(key) or _unused_out(directory, rank)), directory, meter)
        for key, directory in waiting.items()
    ]
    first = stages[works[0].key]
    function = function_of(first["run"])
    if first["batch"] is not None:
        yield from function(works)
        return
    for work in works:
        yield Finished(work.key, function(work))


def _work(directory: StageDirectory, stage: StageJson, rank: Rank, out: Path) -> Work[Any]:
    shared = shared_now(Store(directory.root).shared(stage["batch"] or "alone"))
    if stage["batch"] is not None:
        shared.mkdir(parents=True, exist_ok=True)
    return Work(
        key=directory.path.name,
        config=typed(schema_of(stage["config_type"]), stage["identity"]["config"]),
        inputs={
            role: tuple(_input_path(directory.root, place) for place in places)
            for role, places in stage["inputs"].items()
        },
        out=out,
        scratch=directory.scratch,
        shared=shared,
        settings=stage["settings"],
        report=reporter(directory) if rank.is_first else _report_nothing,
        shards=tuple(_shard(directory.root, place) for place in stage["shards"]),
        digests={
            role: tuple(_digest(directory.root, place) for place in places) for role, places in stage["inputs"].items()
        },
    )


def _limited(work: Work[Any], directory: StageDirectory, meter: Meter | None) -> Work[Any]:
    """The work with the limits that hold for its stage."""
    if meter is None or not meter.ledgers:
        return work
    return replace(work, is_over_limit=meter.is_over, charge=partial(meter.charge, directory.address))


def _report_nothing(done: int, total: int, unit: str) -> None:
    """Do nothing: only rank 0 writes progress.json."""


def _unused_out(directory: StageDirectory, rank: Rank) -> Path:
    """Output folder of a rank that does not publish."""
    out = directory.scratch / f"rank-{rank.index}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    return out


def _input_path(root: Path, place: Place) -> Path:
    """Path of an input. Raises StoreError if it is unfinished or changed since planning."""
    if "file" in place:
        if FileInput.of(Path(place["file"])).key != place["key"]:
            raise StoreError(f"input {place['file']}: changed since this stage was planned. Run the sweep again.")
        return Path(place["file"])
    directory = StageDirectory(root / place["stage"])
    if not directory.is_done:
        raise StoreError(f"input {place['stage']}: not finished. Run the sweep again to make it first.")
    return directory.out


def _shard(root: Path, place: StagePlace) -> Shard:
    """A finished shard. Raises StoreError if it is missing or unfinished."""
    out = _input_path(root, place)
    return Shard(out, StageDirectory(out.parent).read_record()["summary"])


def _minutes(text: str) -> float | None:
    return None if text in ("none", "null", "") else float(text)


def _end_with(process: int, exists: Callable[[int], bool]) -> None:
    """End this worker soon after `process` has ended, for whatever reason."""
    wake_when_parent_ends()

    def watch() -> None:
        while exists(process):
            time.sleep(0.5)
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGTERM)  # with all its child processes
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _is_parent(process: int) -> bool:
    return os.getppid() == process


if __name__ == "__main__":
    raise SystemExit(main())
