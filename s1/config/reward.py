"""Schema of the group `reward`: a model that scores answers, or the steps of their thinking."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from s1.config.schema import Dial, Model, Train
from sweep.core.ranges import Count, FreeText, Natural, Seed, Text


class RewardKind(Enum):
    TRAINED = "trained"  # trained here on dial problems, whose steps are labelled by rule
    HUB = "hub"  # a Hugging Face repository at a pinned revision
    DIRECTORY = "directory"  # a local directory in Hugging Face layout


class RewardForm(Enum):
    CLASSIFIER = "classifier"  # a sequence classifier: one score for prompt and answer
    PROCESS = "process"  # a process reward model (PRM), a token classifier: one score at the end of each step


class StepAggregation(Enum):
    """How the scores of the steps become the score of a trace."""

    LAST = "last"  # the score of the last step
    MIN = "min"  # the lowest score of a step
    PRODUCT = "product"  # the product over all steps


class OverlongInput(Enum):
    """What to do with an input of more than `context_tokens`. It is never cut."""

    REFUSE = "refuse"  # stop
    ZERO = "zero"  # give it the reward 0, unread


@dataclass(frozen=True)
class RewardScoring:
    """How a reward model reads a trace, apart from where its weights come from."""

    form: RewardForm
    context_tokens: int
    overlong: OverlongInput
    prompt: str | None
    reads_thinking: bool
    label: int
    step_separator: str | None
    step_aggregation: StepAggregation


@dataclass(frozen=True)
class RewardTraining:
    """Training of a small PRM on dial problems (s1/reward/examples.py), for `kind: trained` only."""

    dial: Dial  # the family of problems, and how often their reasoning slips
    model: Model  # a fresh model, which gets a classifier on top; pretrained before if it has `pretraining`
    examples: Count  # traces to train on
    held_out: Count  # traces of held-out problems on which the trained model is measured
    train: Train  # the recipe
    seed: Seed = 0  # seed of the examples


@dataclass(frozen=True)
class Reward:
    """A reward model, loaded through transformers. Its scores are probabilities, from 0 to 1."""

    name: Text  # name in reports
    kind: RewardKind  # where the weights come from
    form: RewardForm  # what it scores
    context_tokens: Count  # longest input, separators included
    # template with {question} before the answer or the steps; null: the tokenizer's chat template (classifiers only)
    prompt: Text | None
    # index of the class that means "good"; a model with one class has 0, and its score is the sigmoid of its output
    label: Natural
    # process only: text that ends a step, both in the thinking and in the model's input
    step_separator: FreeText | None = None
    step_aggregation: StepAggregation = StepAggregation.LAST  # process only
    overlong: OverlongInput = OverlongInput.REFUSE  # what to do with a longer input
    # classifier only: read the thinking before the answer; a PRM always reads it
    reads_thinking: bool = False
    repo: Text | None = None  # hub repository, or directory
    revision: Text | None = None  # hub only: a 40-hex commit; null: the one in pins.lock
    training: RewardTraining | None = None  # for kind trained

    @property
    def scoring(self) -> RewardScoring:
        """What decides the scores besides the weights."""
        return RewardScoring(
            form=self.form,
            context_tokens=self.context_tokens,
            overlong=self.overlong,
            prompt=self.prompt,
            reads_thinking=self.reads_thinking,
            label=self.label,
            step_separator=self.step_separator,
            step_aggregation=self.step_aggregation,
        )
