"""The transformers engine on a GPU keeps what the contract of engines promises on a CPU: `pytest -m gpu`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from s1.config.schema import EngineConfig, EngineKind
from s1.generate.engine import Engine
from s1.generate.engines import open_engine
from s1.models.location import Location
from tests.support.engines import SETTINGS, finish, requests, save_tiny_llama


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here: nothing was run on a GPU")  # in CI too, whose machines have none
    location = Location(str(save_tiny_llama(tmp_path_factory.mktemp("model"))), None)
    opened = open_engine(location, EngineConfig(EngineKind.TRANSFORMERS, request.param, "cuda", 1), SETTINGS)
    yield opened
    opened.close()


def test_greedy_tokens_on_a_gpu_do_not_depend_on_order_or_company(engine: Engine) -> None:
    wanted = requests(20)
    together = finish(engine, wanted, per_step=2)
    assert finish(engine, wanted[::-1])[::-1] == together
    assert [finish(engine, [each])[0] for each in wanted] == together


def test_a_text_on_a_gpu_goes_on_from_any_of_its_prefixes(engine: Engine) -> None:
    for request in requests(8, seed=3):
        (whole,) = finish(engine, [request])
        for cut in range(1, len(whole.ids)):
            prompt = (*request.prompt_ids, *whole.ids[:cut])
            (rest,) = finish(engine, [replace(request, prompt_ids=prompt, max_tokens=request.max_tokens - cut)])
            assert rest.ids == whole.ids[cut:]
