"""The steps of a trace, and the token ids of a reward model's input.

A process reward model reads the format of TRL's PRM trainer: each step is encoded separately, followed by the
separator, whose last token carries the score.

    prompt | step 1 | separator | step 2 | separator | ... | answer | separator
                          ^                     ^                       ^
The answer, if there is one, is the last step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from s1.config.reward import RewardForm, RewardScoring
from s1.models.thinking_format import Ids, Tokenizer, encode


@dataclass(frozen=True)
class RewardText:
    """What a reward model scores: a question, the thinking so far, and the answer; empty: none yet."""

    question: str
    thinking: str
    answer: str


@dataclass(frozen=True)
class RewardInput:
    """Token ids, and the places whose scores count: the end of each step, or the last token."""

    ids: Ids
    places: tuple[int, ...]


def steps_of(thinking: str, answer: str, separator: str) -> list[str]:
    """Non-empty steps without surrounding white space, the answer last."""
    return [step for text in (*thinking.split(separator), answer) if (step := text.strip())]


def reward_input(text: RewardText, scoring: RewardScoring, tokenizer: Tokenizer) -> RewardInput:
    """Encode what the reward model reads."""
    if scoring.form is RewardForm.PROCESS:
        separator = scoring.step_separator or ""
        steps = steps_of(text.thinking, text.answer, separator)
        return stepwise_input(prompt_before(scoring.prompt, text.question), steps, separator, tokenizer)
    parts = [text.thinking, text.answer] if scoring.reads_thinking else [text.answer]
    response = "\n\n".join(part.strip() for part in parts if part.strip())
    ids = _classified(text.question, response, scoring, tokenizer)
    return RewardInput(ids, (len(ids) - 1,))


def stepwise_input(prompt: str, steps: Sequence[str], separator: str, tokenizer: Tokenizer) -> RewardInput:
    """The input of a process reward model, also in its training."""
    ids, end = encode(prompt, tokenizer), encode(separator, tokenizer)
    places: list[int] = []
    for step in steps:
        ids += encode(step, tokenizer) + end
        places.append(len(ids) - 1)
    return RewardInput(ids, tuple(places))


def prompt_before(template: str | None, question: str) -> str:
    """The text before the answer or the steps."""
    return (template or "{question}").replace("{question}", question)


def _classified(question: str, response: str, scoring: RewardScoring, tokenizer: Tokenizer) -> Ids:
    if scoring.prompt is not None:
        return encode(prompt_before(scoring.prompt, question) + response, tokenizer)
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": response}]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False)
    return encode(str(rendered), tokenizer)
