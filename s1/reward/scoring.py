"""Load a reward model and score traces with it, one at a time: padding and other rows would change the last digits.

A score is the probability of class `label`, computed in float64: the softmax over the model's classes, or the sigmoid
of the output of a model with one class. A trace without any step gets 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from s1.config.reward import OverlongInput, RewardForm, RewardScoring, StepAggregation
from s1.config.schema import ConfigError
from s1.models.location import Location, tokenizer_at
from s1.models.thinking_format import Tokenizer
from s1.reward.steps import RewardInput, RewardText, reward_input

if TYPE_CHECKING:
    from torch import Tensor


class RewardModel:
    """A reward model with its tokenizer, in evaluation mode on its device."""

    def __init__(self, model: Any, tokenizer: Tokenizer, scoring: RewardScoring) -> None:
        if scoring.label >= model.config.num_labels:
            raise ConfigError(
                f"reward.label {scoring.label}: the model has {model.config.num_labels} classes. Lower it."
            )
        # A classifier reads its last token that is no padding. Inputs have none, but may end in that token.
        model.config.pad_token_id = None
        self._model, self._tokenizer, self._scoring = model.eval(), tokenizer, scoring

    def step_rewards(self, text: RewardText) -> list[float]:
        """The reward of each step, from 0 to 1; of a classifier, the one score; [] if it is too long and gets 0.

        Raises ConfigError if it is too long and that is refused.
        """
        read = reward_input(text, self._scoring, self._tokenizer)
        if self._scoring.overlong is OverlongInput.ZERO and len(read.ids) > self._scoring.context_tokens:
            return []
        return self.rewards_at(read)

    def reward(self, text: RewardText) -> float:
        """The reward of the whole text."""
        return trace_reward(self.step_rewards(text), self._scoring.step_aggregation)

    def rewards_at(self, read: RewardInput) -> list[float]:
        """The reward at each place of an encoded input."""
        if len(read.ids) > self._scoring.context_tokens:
            raise ConfigError(
                f"reward.context_tokens {self._scoring.context_tokens}: a trace has {len(read.ids)} tokens for the"
                " reward model. Raise it as far as the model allows, or set reward.overlong=zero to give such traces 0."
            )
        if not read.places:
            return []
        import torch

        with torch.inference_mode():
            logits = self._model(input_ids=torch.tensor([read.ids], device=self._model.device)).logits[0]
        return self._probabilities(logits if logits.dim() == 1 else logits[list(read.places)]).tolist()

    def _probabilities(self, logits: Tensor) -> Tensor:
        """Of `label`, from logits [classes] or [places, classes], as [places]."""
        rows = logits.double().reshape(-1, logits.shape[-1])
        return rows.sigmoid()[:, 0] if rows.shape[1] == 1 else rows.softmax(-1)[:, self._scoring.label]


def trace_reward(steps: Sequence[float], aggregation: StepAggregation) -> float:
    """The reward of a trace from those of its steps; 0 without any."""
    if not steps:
        return 0.0
    aggregate = {StepAggregation.LAST: lambda: steps[-1], StepAggregation.MIN: lambda: min(steps)}
    return aggregate.get(aggregation, lambda: prod(steps))()


def load_reward_model(location: Location, scoring: RewardScoring, dtype: str, device: str) -> RewardModel:
    """Load from a directory or a hub snapshot. Raises ConfigError for a model without the classifier that it needs."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification
    from transformers.utils import logging

    logging.disable_progress_bar()
    kinds = {
        RewardForm.PROCESS: AutoModelForTokenClassification,
        RewardForm.CLASSIFIER: AutoModelForSequenceClassification,
    }
    try:
        model, loaded = kinds[scoring.form].from_pretrained(
            location.model,
            revision=location.revision,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except ValueError as error:  # transformers has no such head for this architecture
        raise ConfigError(
            f"reward.form {scoring.form.value}: {location.model} cannot be loaded so"
            f" ({' '.join(str(error).split())[:200]}). Choose another form or reward model."
        ) from None
    if missing := sorted(loaded["missing_keys"]):
        raise ConfigError(
            f"reward.form {scoring.form.value}: {location.model} has no weights for {missing[0]}, so its scores would"
            " be random. Choose another form or reward model."
        )
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if longest is not None and scoring.context_tokens > longest:
        raise ConfigError(
            f"reward.context_tokens {scoring.context_tokens}: the reward model supports at most {longest}. Lower it."
        )
    return RewardModel(model.to(device), tokenizer_at(location), scoring)
