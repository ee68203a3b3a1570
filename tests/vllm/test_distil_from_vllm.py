"""vLLM's own server as a teacher: a tiny model thinks and answers, and a reasoning parser takes the two apart."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast
from urllib.error import URLError
from urllib.request import urlopen

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from s1.data.chat_requests import ChatUsage, distil
from s1.models.location import CHAT_TEMPLATE, CLOSE, piece_tokenizer
from s1.records import PoolRow, read_rows
from tests.support.teachers import ASKED, lay_out, work

THINKS, ANSWERS = ("Six", " plus", " seven"), ("Final", " Answer:", " 13")
CHAIN = ("<think>", *THINKS, "</think>", *ANSWERS, CLOSE)  # each token is followed by the next, whatever was before
START_S = 600.0  # on a busy machine


def save_teacher(directory: Path) -> Path:
    """A model without attention or feed-forward: the last token alone decides, and its head knows the chain."""
    tokenizer = piece_tokenizer((*THINKS, *ANSWERS, "user", "assistant"))
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = CHAT_TEMPLATE.replace("assistant\n", "assistant\n<think>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,  # of 32, the smallest that vLLM serves on a CPU
        max_position_embeddings=512,
        initializer_range=1.0,
        tie_word_embeddings=False,
        eos_token_id=cast(int, tokenizer.eos_token_id),
        bos_token_id=None,
    )
    model: Any = LlamaForCausalLM(config)
    ids = [tokenizer.convert_tokens_to_ids(tokenizer.tokenize(piece)[0]) for piece in CHAIN]
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        for this, following in pairwise(ids):
            model.lm_head.weight[following] = model.model.embed_tokens.weight[this]
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@contextmanager
def served(model: Path, log: Path) -> Iterator[str]:
    """The base_url of a vLLM server, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)),
        *("--served-model-name", "teacher", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"),
        *("--max-model-len", "512", "--block-size", "32", "--kv-cache-memory-bytes", str(2**28), "--enforce-eager"),
        *("--reasoning-parser", "deepseek_r1"),
    ]
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        until = time.monotonic() + START_S
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None and time.monotonic() < until, log.read_text(encoding="utf-8")[-4000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # the engine is a process of its own
        server.wait()


def answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as response:
            return response.status == 200
    except (URLError, OSError):
        return False


def test_a_local_server_teaches_with_its_thoughts_taken_apart(tmp_path: Path) -> None:
    asked = replace(ASKED, max_tokens=64, temperature=0.0)
    with served(save_teacher(tmp_path / "model"), tmp_path / "server.log") as base_url:
        summary = distil(work(lay_out(tmp_path), base_url, asked))
    made = read_rows(tmp_path / "out" / "rows.jsonl", PoolRow)
    assert {(row.thinking, row.answer) for row in made} == {("".join(THINKS), "".join(ANSWERS))}
    usage = read_rows(tmp_path / "out" / "usage.jsonl", ChatUsage)
    assert {each.completion_tokens for each in usage} == {len(CHAIN) - 1}
    assert {each.model for each in usage} == {"teacher"}
    assert (summary["rows"], summary["usd"]) == (12, 0.0)
