"""Tokenizers that behave as Qwen's and R1's do, and a model that recites: for thinking formats other than s1's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as Pipeline
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from s1.config.schema import ThinkingFormat
from s1.generate.engine import GenerationRequest
from s1.models.thinking_format import decode, encode
from sweep.config.compose import compose

# How Qwen2.5 cuts a text before it merges bytes: marks join the marks and line ends behind them, and a space before.
QWEN_CUTS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Like Qwen's vocabulary it has tokens that run across the seams of a delimiter, each merged from two others.
SEAMS = ((" ", "<"), (" <", "|"), (".", "<"), ('"', "<"), (")", "<"), ("!", "<"), ("<", "/"), (".", "</"), (">", "<"))
LINE_ENDS = ((".", "\n"), (".\n", "\n"), (">", "\n"), (">\n", "\n"))
WORDS = ("Six", " plus", " seven", "It", " is", " thirteen", "Final", " Answer", "Wait")
CHATML = "{% for each in messages %}<|im_start|>{{ each.role }}\n{{ each.content }}<|im_end|>\n{% endfor %}"
ASSISTANT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
BOS, USER, SPEAKER, EOS = (
    f"<\uff5c{name}\uff5c>" for name in ("begin", "User", "Assistant", "end\u2581of\u2581sentence")
)
R1 = f"{BOS}{{% for each in messages %}}{USER}{{{{ each.content }}}}{{% endfor %}}{SPEAKER}"
CHATML_TOKENS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
R1_TOKENS = (BOS, USER, SPEAKER, EOS)
THINK_TOKENS = ("<think>", "</think>")

# model: its special tokens, its other added tokens, its chat template
SPEAKERS = {
    "qwen2_5_7b": (CHATML_TOKENS, (), CHATML + ASSISTANT),
    "sky_t1_32b": (CHATML_TOKENS, (), CHATML + ASSISTANT),
    "qwen3_8b": (CHATML_TOKENS, THINK_TOKENS, CHATML + ASSISTANT),
    "qwq_32b": (CHATML_TOKENS, THINK_TOKENS, CHATML + ASSISTANT.replace("assistant\n", "assistant\n<think>\n")),
    "r1_distill_qwen_1_5b": (R1_TOKENS, THINK_TOKENS, R1 + "{{ '<think>\\n' }}"),
    "r1 of January 2025": (R1_TOKENS, THINK_TOKENS, R1),
}


@cache
def thinking_format_of(model: str) -> ThinkingFormat:
    """The thinking format in conf/ of a model in conf/."""
    return compose([f"model={model}", "data=none", "task=dial"]).points[0].model.thinking_format


@cache
def tokenizer_of(model: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE with Qwen's cuts and the model's own added tokens and chat template."""
    special, added, template = SPEAKERS[model]
    in_bytes = ByteLevel(add_prefix_space=False, use_regex=False)

    def spelled(text: str) -> str:
        return "".join(piece for piece, _ in in_bytes.pre_tokenize_str(text))

    merges = [(spelled(left), spelled(right)) for left, right in (*SEAMS, *LINE_ENDS)]
    entries = [*sorted(ByteLevel.alphabet()), *(left + right for left, right in merges), *map(spelled, WORDS)]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=merges, ignore_merges=True))  # a whole word is looked up
    tokenizer.pre_tokenizer = Pipeline([Split(Regex(QWEN_CUTS), behavior="isolated"), in_bytes])
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens(list(special))
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in added])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template)


class Reciter:
    """A model that says `response` after the prompt, and `answer` once it has said or been made to say `marker`."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, prompt: str, response: str, marker: str, answer: str
    ) -> None:
        self.tokenizer, self.prompt = tokenizer, prompt
        self.response, self.marker, self.answer = response, marker, answer

    def __call__(self, ids: Sequence[int], request: GenerationRequest, forbidden: frozenset[int]) -> int:
        said = decode(ids, self.tokenizer).removeprefix(self.prompt)
        _, is_answering, answered = said.partition(self.marker)
        if is_answering:
            return self._next(self.answer, answered.removeprefix("Final Answer:"), forbidden)
        return self._next(self.response, said.replace("Wait", ""), forbidden)

    def _next(self, text: str, said: str, forbidden: frozenset[int]) -> int:
        """The token of the text that begins where `said` ends, or the first behind it that is allowed."""
        ids = encode(text, self.tokenizer)
        starts = (len(decode(ids[:count], self.tokenizer)) for count in range(len(ids)))
        return next(
            token for token, start in zip(ids, starts, strict=True) if start >= len(said) and token not in forbidden
        )
