"""The store: one directory per stage key, and the directory is the database.

store/answers/9f3c1ab2d4e5/
  stage.json      name, version, config, inputs, run: what it is, and how to make it again
  record.json     created LAST; that it exists means done: summary, seconds, cost, provenance, and the product's
                  directory with the checksums of its files (sweep/store/attempt.py)
  failed.json     instead of a record: the error and its traceback
  interrupted.json   likewise: what was saved when it was asked to stop; the same stage goes on from there
  out-<token>/    the product of one attempt; the one that record.json names counts
  out             a link to that one, for people
  record-<token>.json  a second copy of the record, for when that is lost or damaged
  hashed.json     in which state each file of the product was hashed: a plan hashes only files that were touched since
  scratch/        what survives attempts, e.g. training checkpoints; removed when done
  log-1.txt       everything the worker of the first attempt printed; stages of one worker share one log
  log.txt         a link to the newest of them (sweep/store/logs.py)
  progress.json   {done, total, unit} while running
  lock            held (flock) by the one process that works here; the kernel frees it if that process dies
  worker.json     names that process while it works here, also where locks do not lock (sweep/claims/claim.py)
  damaged-1/      a product that was no longer what was published, set aside before it was made again
  superseded-1/   a product that was good, set aside because it was to be made anew (sweep/store/generations.py)
  generation.json {generation}: how often that was
  same-code.json  by digest of other code: in which files its product differs (sweep/plan/code_changes.py)
store/id.json           {id, inodes}: the name of this store, which a copy does not inherit
store/shared/<batch>/   what stages of a batch keep together: the continuation store; redo-<n>/ in it since a redo
store/lock              shared (flock) by every sweep while it runs, held alone by what removes or mends
store/.shared-*.json    names such a sweep, .alone-*.json such a removal (sweep/claims/store_hold.py)
store/roots/<id>.json   what a published result rests on, wherever it lies (sweep/results/roots.py)
store/submissions/<id>/ what was sent to SLURM (sweep/slurm/submission.py); its jobs lock their stages only
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
from sweep.claims.lock import Hold, locked
from sweep.claims.store_hold import store_held
from sweep.core.identity import IdentityError, key_of
from sweep.core.stage import FileInput, Stage
from sweep.json_files import StoreError, read_json, read_sealed, sealed, write_json
from sweep.plain_values import is_table
from sweep.store.checksums import HashCache, Inodes, Look, changed_files_by_stat, digest_of, file_states
from sweep.store.documents import Place, RecordJson, ResourcesJson, StageJson, StagePlace

OUT = "out"  # the link for people to the product that counts; of records of before the product itself
ASIDE = re.compile(r"(damaged|superseded)-\d+")  # folders of a stage directory that hold earlier products
PRODUCT = re.compile(rf"{OUT}(-[A-Za-z0-9_-]+)?")


@dataclass(frozen=True)
class StageDirectory:
    """The paths of one stage, spelled in one place."""

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
        """The product of a finished stage: the directory that its record names. Raises StoreError if it has none."""
        return self._product(self.read_record())

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
        """The store this directory is in."""
        return self.path.parents[1]

    @property
    def is_done(self) -> bool:
        return self.record_file.exists()

    def read_stage(self) -> StageJson:
        """As it was written by `describe`; description_faults tells whether it can be relied on."""
        return cast(StageJson, read_json(self.stage_file))  # nothing is known of it before those faults are looked for

    def read_record(self) -> RecordJson:
        """Raises StoreError if there is none, or if it is not what was published."""
        try:
            record = read_sealed(self.record_file)
        except FileNotFoundError:
            raise StoreError(f"{self.address}: not finished. Run the sweep again, it will make it.") from None
        if not self.is_of(record):
            raise StoreError(f"{self.record_file}: damaged, of another stage. Run the sweep again: it is written anew.")
        if not PRODUCT.fullmatch(str(record.get("out", OUT))):
            raise StoreError(
                f"{self.record_file}: damaged, it names no product. Run the sweep again: it is written anew."
            )
        return cast(RecordJson, record)  # its checksum says that it is what a worker wrote

    def is_of(self, record: Mapping[str, Any]) -> bool:
        """Whether a record is of this stage; those set aside lie in a folder of it."""
        directory = self.path.parent if ASIDE.fullmatch(self.path.name) else self.path
        identity = record.get("identity")
        if "key" not in record:  # of before records named their stage
            return True
        name = identity.get("name", directory.parent.name) if is_table(identity) else directory.parent.name
        return (record["key"], name) == (directory.name, directory.parent.name)

    @property
    def digest(self) -> str:
        """Of the finished product's bytes; by its record, or from the files where a record knows none."""
        return self.digest_by(self.read_record())

    def digest_by(self, record: RecordJson) -> str:
        """The same, by a record that was read before."""
        files = record.get("files")
        return digest_of(file_states(self._product(record)) if files is None else files)

    @property
    def generation(self) -> int:
        """How often its product was set aside to be made anew."""
        with suppress(StoreError, OSError, KeyError):  # a damaged file is no reason to lose a product
            return int(read_sealed(self.generation_file)["generation"])
        return len(list(self.path.glob("superseded-*")))

    @contextmanager
    def locked(self, rule: Rule = WAIT) -> Generator[bool]:
        """Held alone, once no other process works here (sweep/claims/claim.py); without waiting, False if one does."""
        self.path.mkdir(parents=True, exist_ok=True)
        with claimed(self.path, rule) as is_ours:
            yield is_ours

    def faults(self, look: Look = changed_files_by_stat) -> list[str]:
        """Differences between a finished product and its record, as far as that knows them."""
        if not self.is_done:
            return []
        try:
            record = self.read_record()
        except (StoreError, OSError):
            return [f"{self.record_file.name}: not what was published"]
        files = record.get("files")
        return [] if files is None else look(self._product(record), files)

    def _product(self, record: RecordJson) -> Path:
        return self.path / str(record.get("out", OUT))

    def new_faults(self) -> tuple[list[str], Inodes]:
        """For planning: faults, where files that were hashed in their present state are not read again; and states."""
        known: Mapping[str, Any] = {}
        with suppress(StoreError, OSError):
            known = read_json(self.hashed_file)
        seen = HashCache(known)
        faults = self.faults(seen.look)
        return faults, {} if seen.now == known else seen.now


@dataclass(frozen=True)
class Store:
    root: Path

    def directory(self, stage: Stage) -> StageDirectory:
        return StageDirectory(self.root / stage.name / stage.key)

    def is_done(self, stage: Stage) -> bool:
        return self.directory(stage).is_done

    @property
    def id(self) -> str:
        """A name of this store, made on first use; a copy has other inodes and gets a name of its own."""
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
    def held(self, hold: Hold) -> Generator[None]:
        """Sweeps share the store, what removes or mends has it alone. Raises StoreError instead of waiting."""
        self.root.mkdir(parents=True, exist_ok=True)
        with store_held(self.root, hold):
            yield

    def prepare(self, stage: Stage) -> StageDirectory:
        """Write down what is to be made, so that a worker, or a person, can make it from the directory alone."""
        directory = self.directory(stage)
        directory.path.mkdir(parents=True, exist_ok=True)
        directory.failed_file.unlink(missing_ok=True)  # of an earlier attempt
        write_json(directory.stage_file, describe(stage), durable=False)  # the same command writes it again
        return directory

    def made(self, name: str, most: int = 64) -> dict[str, StageJson]:
        """What the newest finished stages of a name are (their stage.json), by key."""
        paths = (self.root / name).glob("*/record.json")
        newest = sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)[:most]
        described: dict[str, StageJson] = {}
        for path in newest:
            with suppress(StoreError):  # only for the plan's explanations: a damaged one explains nothing
                described[path.parent.name] = StageDirectory(path.parent).read_stage()
        return described


__all__ = ["StageDirectory", "Store", "StoreError", "describe", "read_json", "write_json"]


def description_faults(directory: StageDirectory, described: StageJson) -> list[str]:
    """Whether what stage.json says is of this stage: its identity is its key, its inputs are those of its identity."""
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
        "resources": cast(ResourcesJson, asdict(stage.resources)),  # it has these fields
        "inputs": {role: [_place(each) for each in inputs] for role, inputs in stage.inputs.items()},
        "shards": [_stage_place(each) for each in stage.shards],
    }


def _place(each: Stage | FileInput) -> Place:
    """Where an input is: a stage by its address in the store, a file by its path and content key."""
    return {"file": str(each.path), "key": each.key} if isinstance(each, FileInput) else _stage_place(each)


def _stage_place(stage: Stage) -> StagePlace:
    return {"stage": stage.address}
