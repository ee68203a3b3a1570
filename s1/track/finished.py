"""Read finished stages of a store: records, digests, and files whose bytes match their record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep.core.pipeline import CostEstimate
from sweep.store.directory import StageDirectory, StoreError, read_json
from sweep.store.documents import RecordJson
from sweep.store.generations import Made, described, digest_at, same_as

PLANNED = "planned.json"
PACKAGES = ("vllm", "torch", "transformers", "trl", "peft", "accelerate", "lm-eval", "math-verify")  # shown on runs


@dataclass(frozen=True)
class FinishedStages:
    """The stages of one store, by address."""

    root: Path
    made: dict[Path, Made] = field(default_factory=dict[Path, "Made"])  # by the folder of a stage name, once read

    def directory(self, address: str) -> Path:
        return self.root / address

    def is_done(self, address: str) -> bool:
        return StageDirectory(self.directory(address)).is_done

    def record(self, address: str) -> RecordJson:
        """Raises StoreError if the stage is not finished or its record is damaged."""
        return StageDirectory(self.directory(address)).read_record()

    def generation(self, address: str) -> int:
        """How often a stage was made before; of one that is being made again, including the artifact set aside."""
        if self.is_done(address):
            return self.record(address).get("generation", 0)
        return StageDirectory(self.directory(address)).generation

    def digest(self, address: str) -> str:
        return digest_at(self.directory(address))

    def out(self, address: str) -> Path:
        return StageDirectory(self.directory(address)).out

    def files(self, address: str) -> Sequence[str]:
        """Names of the files of an artifact."""
        return list(self.record(address).get("files", {}))

    def checked(self, address: str, name: str) -> Path:
        """Path of a file of an artifact. Raises ValueError unless its bytes match the record."""
        file = self.out(address) / name
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != self.record(address).get("files", {})[name]["sha256"]:
            raise ValueError(f"{file}: changed since it was published. Run the sweep again to repair it.")
        return file

    def equals(self, address: str) -> list[Path]:
        """Directories of the other stages that have the same bytes and differ from this one only in code."""
        path = self.directory(address)
        if path.parent not in self.made:
            self.made[path.parent] = described(path.parent)
        return same_as(path, self.made[path.parent])

    def origin(self, address: str) -> dict[str, Any]:
        """Commit and package versions of the code that made a stage; of a stage in shards, of the first one."""
        record = self.record(address)
        if record["shards"]:
            record = self.record(f"{address.partition('/')[0]}_shard/{record['shards'][0]}")
        provenance = record["provenance"]
        return {"commit": provenance["git"]["commit"], "versions": versions(provenance["packages"])}

    def planned_for(self, address: str) -> dict[str, CostEstimate] | None:
        """Estimates of the stages that commands for a result set out to make (sweep/results/costs.py).

        None: nothing was kept, or the file is damaged.
        """
        try:
            kept = read_json(self.directory(address) / PLANNED)
            return {name: CostEstimate(**estimate) for name, estimate in kept.items()}
        except (OSError, StoreError, TypeError):
            return None


def versions(packages: Mapping[str, str]) -> dict[str, str]:
    return {name: packages[name] for name in PACKAGES if name in packages}
