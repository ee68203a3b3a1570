"""The store: one directory per stage key, and the directory is the database.

store/traces/9f3c1ab2d4e5/
  stage.json      name, version, config, inputs, run: everything needed to make the stage
  record.json     created LAST, so its existence means done: summary, seconds, cost, provenance, the artifact's
                  directory and the checksums of its files (sweep/store/attempt.py)
  failed.json     instead of a record: the error and its traceback
  interrupted.json   instead of a record, after a stop signal: what was saved; the stage resumes from it
  out-<token>/    the artifact of one attempt; record.json names the current one
  out             a link to the current artifact, for users
  record-<token>.json  second copy of the record, in case it is lost or damaged
  hashed.json     state of each file when it was hashed; planning hashes only files that were touched since
  scratch/        kept between attempts, such as training checkpoints; removed when done
  log-1.txt       output of the worker of the first attempt; stages of one worker share a log
  log.txt         a link to the newest log (sweep/store/logs.py)
  progress.json   {done, total, unit} while running
  lock            held (flock) by the process that works here; the kernel releases it if that process dies
  worker.json     describes that process, needed where file locks do not work (sweep/claims/claim.py)
  damaged-1/      a damaged artifact, set aside before it was made again
  superseded-1/   an intact artifact, set aside by redo (sweep/store/generations.py)
  generation.json {generation}: number of superseded artifacts
  same-code.json  by code digest: files in which the artifact of that code differs (sweep/plan/code_changes.py)
store/id.json           {id, inodes}: the ID of this store; a copy gets a new one
store/shared/<batch>/   shared by the stages of a batch: the continuation store; redo-<n>/ in it after a redo
store/lock              held (flock) as shared by every running sweep, exclusively by prune and repair
store/.shared-*.json    describes a running sweep; .alone-*.json a prune or repair (sweep/claims/store_hold.py)
store/roots/<id>.json   stages that a published result depends on (sweep/results/roots.py)
store/submissions/<id>/ a submission to SLURM (sweep/slurm/submission.py); its jobs lock only their stages
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from sweep.claims.claim import WAIT, Rule, claimed
from sweep.claims.lock import LockMode, locked
from sweep.claims.store_hold import store_held
from sweep.core.identity import IdentityError, key_of
from sweep.core.stage import FileInput, Stage
from sweep.json_files import StoreError, read_json, read_sealed, sealed, write_json
from sweep.plain_values import is_table
from sweep.store.checksums import FileCheck, HashCache, Inodes, changed_files_by_stat, digest_of, file_states
from sweep.store.documents import Place, RecordJson, ResourcesJson, StageJson, StagePlace

OUT = "out"  # link to the current artifact; in stores of earlier versions the artifact itself
ASIDE = re.compile(r"(damaged|superseded)-\d+")  # folders of a stage directory with earlier artifacts
ARTIFACT_NAME = re.compile(rf"{OUT}(-[A-Za-z0-9_-]+)?")


@dataclass(frozen=True)
class StageDirectory:
    """Paths and files of one stage in the store."""

    path: Path

    @property
    def stage_file(self) -> Path:
        return self.path / "stage.json"

    @property
    def record_file(self) -> Path:
        return self.path / "record.json"

    @property
    def failed_file(self) -> Path:
        return self.path / "failed.json"

    @property
    def interrupted_file(self) -> Path:
        return self.path / "interrupted.json"

    @property
    def progress_file(self) -> Path:
        return self.path / "progress.json"

    @property
    def log_file(self) -> Path:
        return self.path / "log.txt"

    @property
    def out(self) -> Path:
        """Artifact directory of a finished stage, named by its record. Raises StoreError without a record."""
        return self._artifact(self.read_record())

    @property
    def hashed_file(self) -> Path:
        return self.path / "hashed.json"

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def generation_file(self) -> Path:
        return self.path / "generation.json"

    @property
    def same_code_file(self) -> Path:
        return self.path / "same-code.json"

    @property
    def address(self) -> str:
        """`name/key`, as in Stage."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def root(self) -> Path:
        """Root of the store that contains this directory."""
        return self.path.parents[1]

    @property
    def is_done(self) -> bool:
        return self.record_file.exists()

    def read_stage(self) -> StageJson:
        """Read stage.json. It may be damaged: check it with `description_faults` before you rely on it."""
        return cast(StageJson, read_json(self.stage_file))  # description_faults checks what it holds

    def read_record(self) -> RecordJson:
        """Read and verify the record. Raises StoreError if it is missing or damaged."""
        try:
            record = cast(RecordJson, read_sealed(self.record_file))  # its checksum shows that a worker wrote it
        except FileNotFoundError:
            raise StoreError(f"{self.address}: not finished. Run the sweep again to make it.") from None
        if not self.is_of(record):
            raise StoreError(
                f"{self.record_file}: damaged, belongs to another stage. Run the sweep again to rewrite it."
            )
        if not ARTIFACT_NAME.fullmatch(str(record.get("out", OUT))):
            raise StoreError(f"{self.record_file}: damaged, names no artifact. Run the sweep again to rewrite it.")
        return record

    def is_of(self, record: RecordJson) -> bool:
        """Whether a record belongs to this stage, or to the stage that contains this set-aside folder."""
        directory = self.path.parent if ASIDE.fullmatch(self.path.name) else self.path
        identity = record.get("identity")
        if "key" not in record:  # records of earlier versions do not name their stage
            return True
        name = identity.get("name", directory.parent.name) if is_table(identity) else directory.parent.name
        return (record["key"], name) == (directory.name, directory.parent.name)

    @property
    def digest(self) -> str:
        """Digest of the artifact, from its record or, for records of earlier versions, from the files."""
        return self.digest_by(self.read_record())

    def digest_by(self, record: RecordJson) -> str:
        """Like `digest`, for a record that was read before."""
        files = record.get("files")
        return digest_of(file_states(self._artifact(record)) if files is None else files)

    @property
    def generation(self) -> int:
        """How often its artifact was superseded by redo."""
        with suppress(StoreError, OSError, KeyError):  # a damaged file must not cost an artifact
            return int(read_sealed(self.generation_file)["generation"])
        return len(list(self.path.glob("superseded-*")))

    @contextmanager
    def locked(self, rule: Rule = WAIT) -> Generator[bool]:
        """Hold the stage exclusively; yields False if another process has it and the rule does not wait."""
        self.path.mkdir(parents=True, exist_ok=True)
        with claimed(self.path, rule) as is_ours:
            yield is_ours

    def faults(self, check: FileCheck = changed_files_by_stat) -> list[str]:
        """Differences between a finished artifact and its record."""
        if not self.is_done:
            return []
        try:
            record = self.read_record()
        except (StoreError, OSError):
            return [f"{self.record_file.name}: changed since it was published"]
        files = record.get("files")
        return [] if files is None else check(self._artifact(record), files)

    def _artifact(self, record: RecordJson) -> Path:
        return self.path / str(record.get("out", OUT))

    def new_faults(self) -> tuple[list[str], Inodes]:
        """Faults for planning, which hashes only files in a new state; and the file states if they changed."""
        known: Mapping[str, Any] = {}
        with suppress(StoreError, OSError):
            known = read_json(self.hashed_file)
        cache = HashCache(known)
        faults = self.faults(cache.check)
        return faults, {} if cache.now == known else cache.now


@dataclass(frozen=True)
class Store:
    root: Path

    def directory(self, stage: Stage) -> StageDirectory:
        return StageDirectory(self.root / stage.name / stage.key)

    def is_done(self, stage: Stage) -> bool:
        return self.directory(stage).is_done

    @property
    def id(self) -> str:
        """ID of this store, created on first use. A copy has other inodes and gets a new ID."""
        file, lock = self.root / "id.json", self.root / "id.lock"
        with locked(lock):
            inodes = [self.root.stat().st_ino, lock.stat().st_ino]
            known: dict[str, Any] = {}
            with suppress(StoreError, OSError):  # a damaged one is replaced
                known = read_sealed(file)
            if known.get("inodes") != inodes:
                known = sealed({"id": secrets.token_hex(8), "inodes": inodes})
                write_json(file, known)
        return str(known["id"])

    def shared(self, batch: str) -> Path:
        return self.root / "shared" / batch

    @contextmanager
    def held(self, mode: LockMode) -> Generator[None]:
        """Sweeps share the store, prune and repair hold it exclusively. Raises StoreError instead of waiting."""
        self.root.mkdir(parents=True, exist_ok=True)
        with store_held(self.root, mode):
            yield

    def prepare(self, stage: Stage) -> StageDirectory:
        """Write stage.json, from which a worker can make the stage without anything else."""
        directory = self.directory(stage)
        directory.path.mkdir(parents=True, exist_ok=True)
        directory.failed_file.unlink(missing_ok=True)  # of an earlier attempt
        write_json(directory.stage_file, describe(stage), durable=False)  # the same command can rewrite it
        return directory

    def made(self, name: str, most: int = 64) -> dict[str, StageJson]:
        """stage.json of the newest finished stages of a name, by key."""
        paths = (self.root / name).glob("*/record.json")
        newest = sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)[:most]
        described: dict[str, StageJson] = {}
        for path in newest:
            with suppress(StoreError):  # only explains a plan, so damaged ones are skipped
                described[path.parent.name] = StageDirectory(path.parent).read_stage()
        return described


__all__ = ["StageDirectory", "Store", "StoreError", "describe", "read_json", "write_json"]


def description_faults(directory: StageDirectory, described: StageJson) -> list[str]:
    """Fault of a stage.json that is not of this stage: its key or its inputs do not match its identity."""
    try:
        identity, inputs = described["identity"], described["inputs"]
        is_right = key_of(identity) == directory.path.name and identity["name"] == directory.path.parent.name
        keys = {
            role: [each["key"] if "file" in each else each["stage"].rpartition("/")[2] for each in places]
            for role, places in inputs.items()
        }
    except (KeyError, TypeError, AttributeError, IdentityError):
        return ["stage.json: describes no stage"]
    return [] if is_right and keys == identity.get("inputs", {}) else ["stage.json: describes another stage"]


def describe(stage: Stage) -> StageJson:
    """The content of stage.json."""
    config: object = stage.config
    config_type = type(config)
    return {
        "identity": stage.identity(),
        "config_type": f"{config_type.__module__}:{config_type.__qualname__}",
        "request_key": stage.request_key,
        "run": stage.run,
        "code": stage.code.value,
        "roots": list(stage.roots),
        "batch": stage.batch,
        "worker": stage.worker,
        "label": stage.label,
        "settings": dict(stage.settings),
        "resources": cast(ResourcesJson, asdict(stage.resources)),  # the fields of the dataclass
        "inputs": {role: [_place(each) for each in inputs] for role, inputs in stage.inputs.items()},
        "shards": [_stage_place(each) for each in stage.shards],
    }


def _place(each: Stage | FileInput) -> Place:
    """Location of an input: the address of a stage, or the path and content key of a file."""
    return {"file": str(each.path), "key": each.key} if isinstance(each, FileInput) else _stage_place(each)


def _stage_place(stage: Stage) -> StagePlace:
    return {"stage": stage.address}
