"""Doubles for generation tests: a tokenizer whose tokens are readable words, and models that are functions of words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from s1.config.schema import Budget, Compat, ComputeRequest, Forcing, ThinkingFormat
from s1.generate.engine import GenerationRequest
from s1.generate.methods.method import TraceMethod
from s1.generate.methods.registry import method_of
from s1.generate.scripted import Script
from s1.generate.trace import Close, Policy
from s1.models.thinking_format import Ids, ThinkingFormatIds, Tokenizer, decode

PIECE = re.compile(r"<\|\w+\|>| ?[^\s<]+|\n|.")
THINKING_FORMAT = ThinkingFormat(
    prompt="<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n",
    thinking_start="<|im_start|>think\n",
    thinking_stops=["<|im_start|>", "<|im_end|>"],
    thinking_end="<|im_start|>answer\n",
    forced_end="<|im_start|>answer\nFinal Answer:",
    answer_stops=["<|im_end|>"],
    newline_before_end=True,
)


def budget(most: int | None = None, **fields: object) -> Budget:
    given = {
        "min_thinking_tokens": 0,
        "waits": 0,
        "continuation": "Wait",
        "answer_tokens": 4,
        "compat": Compat.CORRECTED,
    }
    return Budget(forcing=Forcing.BUDGET, max_thinking_tokens=most, **{**given, **fields})


def policy_of(wanted: Budget, ids: ThinkingFormatIds, continuation: Ids, context_tokens: int) -> Policy:
    """The policy of a budget; `continuation` is `wanted.continuation` as ids."""
    request = ComputeRequest(wanted)
    method = method_of(request)
    assert isinstance(method, TraceMethod)
    return method.policy(request, ids, continuation, context_tokens)


def told(closed: Close, tokenizer: Tokenizer) -> str:
    """A trace to be read: a line of numbers, then a line for each segment."""
    trace = closed.trace
    lines = [
        f"{trace.thinking_tokens} thinking tokens, {trace.waits} waits, {trace.sampled_tokens} sampled,"
        f" ending {closed.ending.value}"
    ]
    segments = [(each.part.value, each) for each in trace.segments] + [("dropped", each) for each in trace.dropped]
    for part, each in segments:
        text = decode(each.ids, tokenizer).replace("\n", "\\n")
        stop = decode(each.ended_by or (), tokenizer).replace("\n", "\\n")
        ended = f"   ended by {stop}" if stop else ""
        lines.append(f"{part:9} {each.origin.value:7} [{text}]{ended}")
    return "\n".join(lines) + "\n"


class WordTokenizer:
    """One token per word, with its leading space; the vocabulary grows with the texts it meets, at most `size`."""

    def __init__(self, size: int = 500) -> None:
        self.pieces: list[str] = ["<|im_start|>", "<|im_end|>", "\n"]
        self.size = size

    def __len__(self) -> int:
        return self.size

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        return [self._id(piece) for piece in PIECE.findall(text)]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        return "".join(self.pieces[token] if token < len(self.pieces) else f" #{token}" for token in token_ids)

    def apply_chat_template(
        self, conversation: object, *, tokenize: bool, add_generation_prompt: bool, **arguments: object
    ) -> str:
        raise NotImplementedError("the test thinking format has its own prompt template")

    def _id(self, piece: str) -> int:
        if piece not in self.pieces:
            self.pieces.append(piece)
        return self.pieces.index(piece)


class Storyteller:
    """Thinks the words of a story, tries to end where it has a `|`, and answers 13.

    A word is told once: it goes on after "Wait", and after an end that it was forbidden. "@" is an end by <|im_end|>.
    """

    def __init__(self, tokenizer: WordTokenizer, story: str) -> None:
        self.tokenizer = tokenizer
        self.tokens = [tokenizer.encode(each)[0] for each in re.findall(r"[|@]| ?[^\s|@]+|\n", story)]
        self.start, self.stop, self.newline = tokenizer.encode("<|im_start|><|im_end|>\n")
        self.ends = {tokenizer.encode("|")[0]: self.start, tokenizer.encode("@")[0]: self.stop}
        self.think, self.answer, self.wait = (tokenizer.encode(word)[0] for word in ("think", "answer", "Wait"))

    def __call__(self, ids: Sequence[int], request: GenerationRequest, forbidden: frozenset[int]) -> int:
        if self.think not in ids:
            return self._opens(ids)
        thinking = list(ids[ids.index(self.think) + 1 :])
        if self.answer in thinking:
            return self._answers(thinking[thinking.index(self.answer) + 1 :])
        return self._thinks(thinking, forbidden)

    def _opens(self, ids: Sequence[int]) -> int:
        return self.think if ids[-1] == self.start else self.start

    def _thinks(self, thinking: list[int], forbidden: frozenset[int]) -> int:
        if not thinking:
            return self.newline
        if thinking[-1] == self.start:
            return self.answer
        told = sum(token in self.tokens for token in thinking if token != self.newline) + thinking[1:].count(
            self.newline
        )
        for token in self.tokens:
            if token not in self.ends and told == 0:
                return token
            if token in self.ends and told == 0 and thinking[-1] != self.wait and self.ends[token] not in forbidden:
                return self.ends[token]
            told -= token not in self.ends
        return self.start

    def _answers(self, answer: list[int]) -> int:
        thirteen = self.tokenizer.encode(" 13")[0]
        if thirteen in answer:
            return self.stop
        return thirteen if answer else self.newline


def babbler(words: int, end_every: int, stop: int) -> Script:
    """A model of pseudo-random tokens, a pure function of the text (and of the seed, when sampled)."""

    def script(ids: Sequence[int], request: GenerationRequest, forbidden: frozenset[int]) -> int:
        seed = request.seed if request.sampling.temperature > 0 else 0
        number = int.from_bytes(hashlib.sha256(f"{seed} {list(ids)}".encode()).digest()[:4], "big")
        if number % end_every == 0 and stop not in forbidden:
            return stop
        allowed = [token for token in range(3, words) if token not in forbidden]
        return allowed[number % len(allowed)]

    return script
