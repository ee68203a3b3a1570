"""Tests in this folder run in the environment with vLLM, which `make test-vllm` creates."""

from __future__ import annotations

import pytest

from s1.config.schema import EngineKind
from s1.generate.engines import installed
from tests.support.requirements import need


@pytest.fixture(scope="session", autouse=True)
def vllm() -> None:
    need(installed(EngineKind.VLLM)["vllm"], "vLLM is not installed in this environment", "make test-vllm")
