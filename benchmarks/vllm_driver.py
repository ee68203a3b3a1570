"""Speed of our generation loop against a bare `LLM.generate` on one vLLM engine; used by benchmarks/vllm_scan.py.

Both answer the same 60 prompts with the same mixed lengths, greedily, without stops. Ours runs all that a scan runs:
policy, rollout, and the continuation store, which writes every delta to disk.
"""

# vLLM is installed in a separate environment, .venv-vllm.
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import os
import random
import tempfile
from pathlib import Path

from s1.generate.continuations import Continuations
from s1.generate.engine import Sampling
from s1.generate.rollout import Rollout, TraceJob
from s1.generate.trace import Close, Move, Part, Sample, Trace
from s1.records import Ending

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
TASKS = ("aime24", "math500")


class FixedLength:
    """Policy that thinks for exactly `tokens` tokens."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def next(self, trace: Trace) -> Move:
        return Close(trace, Ending.FORCED) if trace.segments else Sample(self.tokens, (), Part.THINKING)


class Driver:
    def __init__(self, model: Path, data: Path) -> None:
        import torch
        from vllm import LLM

        torch.set_num_threads(2)
        self._llm = LLM(
            model=str(model),
            dtype="float32",
            enforce_eager=True,
            block_size=32,
            max_model_len=2048,
            max_num_seqs=64,
            kv_cache_memory_bytes=4 * 2**30,
            generation_config="vllm",
            scheduling_policy="priority",
        )
        tokenizer = self._llm.get_tokenizer()
        rows = [json.loads(line) for task in TASKS for line in (data / f"{task}.jsonl").open(encoding="utf-8")]
        rng = random.Random(0)
        self._prompts = [tuple(tokenizer.encode(row["problem"])) for row in rows]
        self._lengths = [min(400, 16 + int(rng.expovariate(1 / 80))) for _ in rows]
        self.bare()  # warm-up

    def bare(self) -> int:
        """Give all requests to vLLM at once; returns the number of generated tokens."""
        from vllm import SamplingParams

        self._llm.reset_prefix_cache()
        parameters = [
            SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False)
            for tokens in self._lengths
        ]
        prompts = [{"prompt_token_ids": list(ids)} for ids in self._prompts]
        outputs = self._llm.generate(prompts, parameters, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    def ours(self) -> int:
        """The same requests through rollout and store; returns the number of generated tokens."""
        from s1.generate.vllm_engine import VllmEngine

        self._llm.reset_prefix_cache()
        rollout = Rollout(VllmEngine(self._llm.llm_engine))
        with tempfile.TemporaryDirectory() as folder, Continuations(Path(folder)) as store:
            jobs = [
                TraceJob(index, "", FixedLength(tokens), Trace(ids), Sampling(0.0), index, store)
                for index, (ids, tokens) in enumerate(zip(self._prompts, self._lengths, strict=True))
            ]
            for _ in rollout.run(jobs):
                pass
        return rollout.usage.engine_tokens.total()
