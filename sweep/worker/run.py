"""Make the stages of the given directories in this process: `python -m sweep.worker.run DIR [DIR ...]`.

Everything needed is in `DIR/stage.json`; the same command serves the local launcher, a batch job and a person who wants
to repeat one stage by hand. Directories given together belong to one batch; a stage of several processes is made by a
group of them (sweep/worker/ranks.py).

Exit status 0: all made; 1: a stage failed, and `failed.json` says why; 74: not even that could be written; 75: it was
interrupted, and the same command goes on.
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
from functools import partial
from pathlib import Path
from typing import Any

from sweep.claims.claim import WAIT, Rule
from sweep.core.identity import SHORT_DIGEST_CHARACTERS, cite, shortened
from sweep.core.interrupt import GO_ON_LATER, end_on_request, wake_when_parent_ends
from sweep.core.provenance import provenance
from sweep.core.stage import FileInput, Finished, Interrupted, Shard, Work, installed_version
from sweep.core.targets import function_of, schema_of
from sweep.core.typed import typed
from sweep.json_files import put_folder_aside
from sweep.secrets import redacted
from sweep.source.digest import SourceError, changed_files
from sweep.source.memo import remembered_source
from sweep.store.attempt import begin, forget_hashes, restore
from sweep.store.checksums import changed_files_by_hash
from sweep.store.directory import StageDirectory, Store, StoreError, description_faults, write_json
from sweep.store.documents import Place, SourceJson, StageJson, StagePlace
from sweep.store.generations import shared_now
from sweep.store.permission import explained, is_refused
from sweep.store.status_files import Clock, RunOrigin, failure_of, now, record_of, reporter
from sweep.store.temporary import is_alive
from sweep.worker.ranks import (
    ALONE,
    SINGLE_RANK,
    Rank,
    agreed,
    agreement,
    await_ranks,
    lead,
    processes_for,
    signal_finished,
    this_rank,
)
from sweep.worker.stall import beside


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sweep.worker.run", description=__doc__)
    parser.add_argument("directories", nargs="+", type=Path)
    parser.add_argument("--parent", type=int, help="end when this process, which started us, is gone")
    parser.add_argument("--leader", type=int, help="likewise, of a member of a group: the process that leads it")
    parser.add_argument("--unless-busy", action="store_true", help="leave to another process what it is making")
    parser.add_argument("--take-over", action="store_true", help="from a holder that cannot be asked")
    parser.add_argument("--stall-minutes", type=_minutes, help="end after so long without progress; none: never")
    parser.add_argument("--rendezvous", help="where the groups of several nodes meet: torchrun's options, in one text")
    parser.add_argument("--each", action="store_true", help="the directories are no batch: one after the other")
    arguments = parser.parse_args(argv)
    for process, is_there in ((arguments.parent, _is_parent), (arguments.leader, is_alive)):
        if process:
            _end_with(process, is_there)
    directories = [StageDirectory(path.resolve()) for path in arguments.directories]
    for each in directories:
        if not each.stage_file.exists():
            print(f"{each.path}: no stage directory, it has no {each.stage_file.name}.", file=sys.stderr)
            return 1
    member = this_rank(os.environ)
    processes = processes_for(directories)
    if member.group is None and (processes > 1 or arguments.rendezvous):
        meeting = arguments.rendezvous.split() if arguments.rendezvous else ALONE
        with beside(directories, arguments.stall_minutes):
            return lead(directories, processes, meeting, ["--take-over"] if arguments.take_over else [])
    end_on_request()
    groups = [[each] for each in directories] if arguments.each else [directories]
    rule = Rule(not arguments.unless_busy, arguments.take_over)
    try:
        made: list[bool] = []
        for group in groups:
            with beside(group, arguments.stall_minutes if member.group is None else None):
                made.append(run(group, member, rule))
        return 0 if all(made) else 1
    except Interrupted:
        return GO_ON_LATER
    except OSError as error:
        with suppress(OSError):  # the log is on the same disk: the status may be all that can still be told
            print(explained(error), file=sys.stderr, flush=True)
        return os.EX_IOERR


def run(directories: Sequence[StageDirectory], member: Rank = SINGLE_RANK, rule: Rule = WAIT) -> bool:
    """Make all that are not done yet; False if any failed. Raises Interrupted if a function was asked to stop."""
    if not member.decides:
        return _assist(directories, member)
    ordered = sorted(directories, key=lambda each: each.path)  # one order for all, or two processes would wait forever
    with ExitStack() as locks:
        for directory in ordered:
            try:
                is_ours = locks.enter_context(directory.locked(rule))
            except StoreError as error:  # its holder cannot be asked
                if directory.is_done:
                    continue
                left = {each.path.name: each for each in directories if not each.is_done}
                return _attempt(partial(_refuse, error), left, member)
            if not is_ours:
                print(f"{directory.address}: another process is making it, and is left to it.")
                return True
        for directory in ordered:
            if restore(directory):
                print(f"{directory.address}: its record was lost or damaged, and is restored from its second copy.")
        waiting = {each.path.name: each for each in directories if not each.is_done}  # another may have been first
        for directory in waiting.values():
            put_folder_aside(directory.progress_file)
            directory.progress_file.unlink(missing_ok=True)  # of an earlier attempt: this one is only loading so far
        return not waiting or _attempt(lambda: _make(directories, waiting, member), waiting, member)


def _refuse(error: StoreError) -> None:
    raise error


def _assist(directories: Sequence[StageDirectory], member: Rank) -> bool:
    """Run the functions beside member 0, which publishes."""
    make = agreement(directories, member)
    waiting = {each.path.name: each for each in directories if each.path.name in make}

    def run_functions() -> None:
        for finished in _finish(waiting, {key: _described(each) for key, each in waiting.items()}, member, {}):
            signal_finished(waiting[finished.key], member)

    return not waiting or _attempt(run_functions, waiting, member)


def _attempt(make: Callable[[], None], waiting: Mapping[str, StageDirectory], member: Rank) -> bool:
    """The process boundary: an interruption is written down and goes on, every failure is written down and told."""
    try:
        make()
    except Interrupted as stop:
        for directory in waiting.values():  # by every member: one that ends first ends the others
            write_json(directory.interrupted_file, {"message": str(stop), "at": now()})
        raise
    except Exception as error:
        if isinstance(error, StoreError) or is_refused(error):
            said = explained(error) if isinstance(error, OSError) else str(error)
        else:
            said = traceback.format_exc()
        print(redacted(said), file=sys.stderr, flush=True)
        for directory in waiting.values():
            if member.group is None or not directory.failed_file.exists():  # the first to fail knows why
                write_json(directory.failed_file, failure_of(error))
        return False
    return True


def _make(directories: Sequence[StageDirectory], waiting: dict[str, StageDirectory], member: Rank) -> None:
    """Make and publish; what is published leaves `waiting`."""
    clock, environment = Clock(), provenance()
    stages = {key: _described(directory) for key, directory in waiting.items()}
    codes = {key: code_of(stage) for key, stage in stages.items()}
    for key, directory in waiting.items():
        _require_one_state(directory.root, stages[key])
    _require_whole([each for key, directory in waiting.items() for each in _rests_on(directory.root, stages[key])])
    read = {key: _digests_read(directory.root, stages[key]) for key, directory in waiting.items()}
    attempts = {key: begin(directory) for key, directory in waiting.items()}
    with agreed(directories, member, list(waiting)):
        outs = {key: attempt.out for key, attempt in attempts.items()}
        for finished in _finish(waiting, stages, member, outs):
            await_ranks(waiting[finished.key], member)
            directory, stage = waiting[finished.key], stages[finished.key]
            shards = [StageDirectory(directory.root / each["stage"]).read_record() for each in stage["shards"]]
            origin = RunOrigin(codes[finished.key], read[finished.key], directory.generation, environment)
            if not attempts[finished.key].publish(record_of(stage, finished, clock.lap(), shards, origin)):
                print(f"{directory.address}: another worker published it first; what was made here is left out.")
            del waiting[finished.key]
    if waiting:
        raise StoreError(f"stages {', '.join(waiting)}: their function ended without them. Fix the function.")


def _described(directory: StageDirectory) -> StageJson:
    """stage.json, once it describes the stage of this directory. Raises StoreError if it describes another one."""
    stage = directory.read_stage()
    if faults := description_faults(directory, stage):
        raise StoreError(f"{directory.address}: {faults[0]}. Run the sweep again: it is written anew.")
    return stage


def _require_whole(inputs: Sequence[StageDirectory]) -> None:
    """Hash every byte that is about to be read, once for each input. Raises StoreError if some are not those published.

    What is read here stays in the page cache, from which a model is then loaded.
    """
    for directory in {each.path: each for each in inputs}.values():
        if faults := directory.faults(changed_files_by_hash):
            forget_hashes(directory)
            raise StoreError(
                f"input {directory.address}: damaged, {faults[0]}. Run the sweep again: it sets it aside and makes it"
                " again, or says what that costs."
            )


def code_of(stage: StageJson) -> SourceJson:
    """The code that makes a stage: its roots, digests by file. Raises StoreError if a key holds other code."""
    roots = stage.get("roots", [stage["run"]])
    try:
        files = dict(remembered_source(tuple(roots)))
    except SourceError:  # a function of no project, that nothing can be said of
        files = {}
    planned = stage["identity"].get("code")
    if planned is not None:
        here = {**files, **{name: installed_version(name) for name in planned["packages"]}}
        if changed := changed_files({**planned["files"], **planned["packages"]}, here):
            raise StoreError(f"{', '.join(changed)}: not what this was planned with. Run the sweep again.")
    return {"roots": list(roots), "files": files}


def _digests_read(root: Path, stage: StageJson) -> dict[str, str]:
    return {each.address: each.digest for each in _rests_on(root, stage)}


def _rests_on(root: Path, stage: StageJson) -> list[StageDirectory]:
    """The inputs and the shards that are stages. Raises StoreError if one is not finished."""
    places = [*(place for places in stage["inputs"].values() for place in places), *stage["shards"]]
    directories = [StageDirectory(root / place["stage"]) for place in places if "stage" in place]
    for each in directories:
        if not each.is_done:
            raise StoreError(f"input {each.address}: not finished. Run the sweep again, it will make it first.")
    return directories


def _require_one_state(root: Path, stage: StageJson) -> None:
    """Refuse inputs of which one was made from another as it was before: answers to questions of other words."""
    inputs = _rests_on(root, stage)
    now = {each.address: each.digest for each in inputs}
    for each in inputs:
        for address, before in each.read_record().get("inputs", {}).items():
            if address in now and before != now[address]:
                raise StoreError(
                    f"input {each.address}: made from {shortened(cite(address, before))}, which is"
                    f" @{now[address][:SHORT_DIGEST_CHARACTERS]} now. Run the sweep again with"
                    f" redo={each.path.parent.name}, which makes it from what there is now."
                )


def _digest(root: Path, place: Place) -> str:
    return place["key"] if "file" in place else StageDirectory(root / place["stage"]).digest


def _finish(
    waiting: Mapping[str, StageDirectory],
    stages: Mapping[str, StageJson],
    member: Rank,
    outs: Mapping[str, Path],
) -> Iterator[Finished]:
    """`outs`: where member 0 writes, by key; the others write where nobody reads."""
    works = [
        _work(directory, stages[key], member, outs.get(key) or _own_out(directory, member))
        for key, directory in waiting.items()
    ]
    first = stages[works[0].key]
    function = function_of(first["run"])
    if first["batch"] is not None:
        yield from function(works)
        return
    for work in works:
        yield Finished(work.key, function(work))


def _work(directory: StageDirectory, stage: StageJson, member: Rank, out: Path) -> Work[Any]:
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
        report=reporter(directory) if member.decides else _report_nothing,
        shards=tuple(_shard(directory.root, place) for place in stage["shards"]),
        digests={
            role: tuple(_digest(directory.root, place) for place in places) for role, places in stage["inputs"].items()
        },
    )


def _report_nothing(done: int, total: int, unit: str) -> None:
    """For members other than the first: one progress.json is enough."""


def _own_out(directory: StageDirectory, member: Rank) -> Path:
    """Where a member writes whose product nobody reads."""
    out = directory.scratch / f"member-{member.rank}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    return out


def _input_path(root: Path, place: Place) -> Path:
    """Where an input is; refused if it is not finished, or no longer the file that was planned."""
    if "file" in place:
        if FileInput.of(Path(place["file"])).key != place["key"]:
            raise StoreError(f"{place['file']}: changed since it was planned. Run the sweep again.")
        return Path(place["file"])
    directory = StageDirectory(root / place["stage"])
    if not directory.is_done:
        raise StoreError(f"input {place['stage']}: not finished. Run the sweep again, it will make it first.")
    return directory.out


def _shard(root: Path, place: StagePlace) -> Shard:
    """One of those to be put together; refused if it is missing or not finished."""
    out = _input_path(root, place)
    return Shard(out, StageDirectory(out.parent).read_record()["summary"])


def _minutes(text: str) -> float | None:
    return None if text in ("none", "null", "") else float(text)


def _end_with(process: int, is_there: Callable[[int], bool]) -> None:
    """Terminate this worker soon after that process died, however it died."""
    wake_when_parent_ends()

    def watch() -> None:
        while is_there(process):
            time.sleep(0.5)
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGTERM)  # with all processes of its own
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _is_parent(process: int) -> bool:
    return os.getppid() == process


if __name__ == "__main__":
    raise SystemExit(main())
