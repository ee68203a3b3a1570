"""Reads finished stages from their stage.json and record, with all stages behind them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweep.core.recorded import RecordedStage
from sweep.core.stage import CodePolicy, FileInput, Input
from sweep.json_files import StoreError
from sweep.store.directory import StageDirectory, Store, description_faults
from sweep.store.documents import StageJson


@dataclass
class RecordedStages:
    """Reads finished stages with all stages behind them, each once."""

    store: Store
    known: dict[str, RecordedStage] = field(default_factory=dict[str, RecordedStage])

    def read(self, address: str) -> RecordedStage:
        """One stage by its address. Raises StoreError if it is not finished, or its description is damaged."""
        if address not in self.known:
            self.known[address] = self._read(StageDirectory(self.store.root / address))
        return self.known[address]

    def _read(self, directory: StageDirectory) -> RecordedStage:
        if not directory.is_done or not directory.stage_file.is_file():
            raise StoreError(f"{directory.address}: not in the store {self.store.root}, or not finished.")
        described = directory.read_stage()
        if faults := description_faults(directory, described):
            raise StoreError(f"{directory.address}: damaged, {faults[0]}. Run the command of its result again.")
        stage = _stage(described, directory)
        inputs: dict[str, tuple[Input, ...]] = {}
        lost: list[str] = []
        for role, places in described["inputs"].items():
            found: list[Input] = []
            for place in places:
                if "file" in place:
                    found.append(FileInput(Path(place["file"]), place["key"]))
                    continue
                try:
                    found.append(self.read(place["stage"]))
                except StoreError:
                    lost.append(place["stage"])
            inputs[role] = tuple(found)
        return replace(stage, inputs=inputs, lost=tuple(lost))


def _stage(described: StageJson, directory: StageDirectory) -> RecordedStage:
    """The stage without its inputs and shards; results do not keep the shards."""
    identity = described["identity"]
    policy = CodePolicy.EXPENSIVE  # of earlier versions, which did not write it
    with suppress(ValueError):
        policy = CodePolicy(described.get("code", policy.value))
    return RecordedStage(
        name=identity["name"],
        version=identity["version"],
        config=identity["config"],
        run=described["run"],
        settings=described["settings"],
        label=described.get("label", ""),
        code=policy,
        code_roots=tuple(described.get("roots", ())),
        recorded=identity,
        recorded_request_key=described.get("request_key", directory.path.name),
        config_type=described["config_type"],
        digest=directory.digest,
    )
