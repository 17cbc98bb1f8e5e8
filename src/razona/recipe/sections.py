"""A recipe: its sections, and what must fit together between them.

Every field has its unit, the meaning of 0 and null, and where its default comes from.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from razona.recipe.backends import check_compile, check_unsloth, check_vllm
from razona.recipe.checks import (
    check_families,
    check_fine_tuned_reference,
    check_guard,
    check_microbatch_size,
    check_quantised,
    check_reference,
    check_step_size,
)
from razona.recipe.components import check_components, check_soundness
from razona.recipe.data import DataSection, PromptSection
from razona.recipe.model import LoraSection, ModelSection
from razona.recipe.rewards import RewardsSection
from razona.recipe.section import Section, Text, raise_all
from razona.recipe.sft import SftSection
from razona.recipe.training import GuardSection, RolloutSection, TrainSection


class EvaluateSection(Section):
    """How `razona demo` compares base and tuned model, on generated problems that training never sees: each problem
    is sampled, and decoded once greedily.
    """

    num_problems: int = Field(default=512, ge=1)
    """Problems of the comparison (our demo)."""
    samples: int = Field(default=8, ge=1)
    """Completions per problem, the k of pass@k and maj@k."""
    temperature: float = Field(default=1.0, gt=0)
    """Of these samples. 1.0 is the policy itself, as in training."""
    batch_size: int = Field(default=256, ge=1)
    """Completions sampled at a time. Changes memory and speed only."""
    ood_levels: list[Annotated[int, Field(ge=1)]] = Field(default=[3], min_length=1)
    """Levels of the generators' `ood` split for a second comparison, harder than training (our demo)."""
    ood_num_problems: int = Field(default=512, ge=1)
    """Problems of that second comparison."""
    best_prompt_problems: int = Field(default=200, ge=1)
    """Problems on which the base model's best prompt is sought, so that it is not beaten for its prompt alone."""


class ReportSection(Section):
    """Where metrics go besides the run folder, which always has them."""

    report_to: list[Literal["tensorboard", "wandb", "trackio"]] = []
    """Trackers, each a package of its own, which get every figure of `metrics.jsonl`. Empty: the run folder alone, and
    nothing leaves the machine. `tensorboard` writes to the run folder, `trackio` to a folder of its own here; `wandb`
    sends figures and recipe to W&B, unless WANDB_MODE=offline is set."""


class CheckSection(Section):
    """What the check before training may overlook."""

    allow: list[Text] = []
    """Rules whose errors do not stop this recipe; docs/check.md names them. Empty: none."""


class Recipe(Section):
    """What a person asks for: one run, from the data to the page.

    Made in Python, a wrong one raises pydantic's ValidationError; `razona.recipe.load` makes a RecipeError of it.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """Of the run, and of its folder. A file without one is called what the file is called."""
    description: str = ""
    """One sentence for the person who chooses among recipes."""
    model: ModelSection = ModelSection()
    lora: LoraSection | None = LoraSection()
    """null trains every weight of the model."""
    data: DataSection = DataSection()
    prompt: PromptSection = PromptSection()
    rewards: RewardsSection = RewardsSection()
    rollout: RolloutSection = RolloutSection()
    train: TrainSection = TrainSection()
    sft: SftSection = SftSection()
    guard: GuardSection = GuardSection()
    evaluate: EvaluateSection = EvaluateSection()
    report: ReportSection = ReportSection()
    check: CheckSection = CheckSection()

    @model_validator(mode="after")
    def _check(self) -> Self:
        train = self.train
        raise_all(
            [
                lambda: check_step_size(self.rollout.group_size, train.completions_per_step),
                lambda: check_microbatch_size(train.microbatch_size, train.completions_per_step),
                lambda: check_components(self.rewards.components, self.rewards.kind),
                lambda: check_soundness(self.rewards.mix, self.rewards.components),
                lambda: check_families(self.data.source, self.data.families),
                lambda: check_guard(self.guard.every, self.guard.patience),
                lambda: check_quantised(self.model.load_in_4bit, self.lora is None),
                lambda: check_reference(self.model.revision, self.lora is None, train.kl_weight),
                lambda: check_fine_tuned_reference(train.method, self.lora is None, train.kl_weight),
                lambda: check_unsloth(self.model, self.lora, self.rollout, train),
                lambda: check_compile(self.rollout, train),
                lambda: check_vllm(self.model, self.rollout, train),
            ]
        )
        return self
