"""The sections of a recipe: every field with its unit, the meaning of 0 and null, and where its default comes from."""

from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from razona.core.errors import RecipeError
from razona.recipe.checks import (
    check_component_names,
    check_families,
    check_guard,
    check_microbatch_size,
    check_reference,
    check_step_size,
    check_tags,
    check_template,
    fill_placeholders,
)
from razona.recipe.components import OptionValue, check_components, check_soundness

Text = Annotated[str, Field(min_length=1)]
SYSTEM = (
    "Think about the problem. Put your working out between {working_open} and {working_close}, "
    "then the solution between {solution_open} and {solution_close}."
)


def _raise_all(checks: list[Callable[[], object]]) -> None:
    """Run every check, then raise what they found as one error, a mistake a line."""
    mistakes = []
    for check in checks:
        try:
            check()
        except RecipeError as error:
            mistakes.append(str(error))
    if mistakes:
        raise RecipeError("\n".join(mistakes))


class Section(BaseModel):
    """Base of every recipe section: unknown keys are errors, values never change, `"3"` and `true` are no numbers."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class ModelSection(Section):
    """The policy that is trained."""

    name: Text = "embedded"
    """`embedded` is the small model that ships with Razona (our demo); else a hub name or a folder."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the weights in memory. `auto` is bfloat16 on a GPU that has it, float32 elsewhere and for `lora: null`."""
    revision: Text | None = None
    """Branch, tag or commit on the hub. null is the main branch, which may change under you."""
    trust_remote_code: bool = False
    """Runs Python code that comes with the model. Off: nothing from the hub is executed."""


class LoraSection(Section):
    """The adapter that is trained in place of the model's own weights. `lora: null` trains all of them."""

    rank: int = Field(default=32, ge=1)
    """Columns of each adapter matrix. Up to 32 suffices for reinforcement at any data size ("LoRA Without Regret")."""
    alpha: float = Field(default=64.0, gt=0)
    """The adapter's output is scaled by alpha / rank; twice the rank is our demo's choice."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs set to zero while training. 0 switches it off: sampling and training then agree."""
    target_modules: Annotated[list[Text], Field(min_length=1)] | Literal["all-linear"] = [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    ]
    """The projections that get an adapter, attention and MLP alike ("LoRA Without Regret"). `all-linear`: every one."""


class DataSection(Section):
    """Where the problems come from."""

    source: Text = "tasks"
    """`tasks` are our generators (our demo); else a .jsonl, .csv or .parquet file, or a hub data set."""
    config: Text | None = None
    """Configuration of a hub data set, for example `main`. null where it has only one."""
    split: Text = "train"
    """Split of a hub data set. Files have none, and generators keep training and evaluation apart themselves."""
    question_column: Text | Annotated[list[Text], Field(min_length=1)] = ["question", "problem", "prompt"]
    """Column of the question; of several names the first that the data has."""
    target_column: Text | Annotated[list[Text], Field(min_length=1)] = ["answer", "solution", "target"]
    """Column of the target; of several names the first that the data has. `answer` leads: where both are there,
    as in GSM8K, `solution` is the working."""
    families: list[Text] = []
    """Generators to draw from, `razona tasks` lists them. Empty: all. Only with source `tasks`."""
    levels: list[Annotated[int, Field(ge=1)]] = Field(default=[1, 2], min_length=1)
    """Difficulties to draw from, 1 is easiest; 3 is kept for evaluation (our demo). Only read with source `tasks`."""
    max_problems: int | None = Field(default=None, ge=1)
    """Problems to train on. null: all of them, or, from generators, as many as the run needs."""
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """Problems with a longer prompt are left out, and counted. null: none is."""
    drop_longest: float = Field(default=0.0, ge=0, lt=1)
    """Share of the problems, those with the longest prompts, that is left out, too, and counted. 0: none. 0.1 is what
    the well-known GRPO notebooks do on DAPO-Math-17k."""


class PromptSection(Section):
    """The form of prompt and completion. The completion starts right after `working_open`."""

    system: str | None = SYSTEM
    """System message, with `{working_open}` and its like for the tags below (the form of the well-known GRPO
    notebooks, shortened). `{{x}}` stands for a literal `{x}`. null: no system message."""
    chat_template: Text | None = None
    """Jinja text that writes the messages, for a base model whose tokenizer has none or the wrong one. null: the
    tokenizer's own; where it has none, a plain one of ours, and the run says so."""
    working_open: Text = "<start_working_out>"
    """Before the working; the last thing in every prompt."""
    working_close: Text = "<end_working_out>"
    """After the working."""
    solution_open: Text = "<SOLUTION>"
    """Before the solution."""
    solution_close: Text = "</SOLUTION>"
    """After the solution."""

    def system_text(self) -> str:
        """Give the system message with the tags filled in; empty where there is none."""
        return fill_placeholders(self.system or "", self._tags())

    def _tags(self) -> dict[str, str]:
        return {key: value for key, value in self if key not in ("system", "chat_template")}

    @model_validator(mode="after")
    def _check(self) -> Self:
        _raise_all([lambda: check_tags(self._tags()), self.system_text, lambda: check_template(self.chat_template)])
        return self


class RewardComponent(Section):
    """One thing that is paid for."""

    name: Text
    """A reward of `razona.rewards`: `correct`, `format`, ...; or a function of your own with TRL's signature, as
    `package.module:function`."""
    weight: float = Field(default=1.0, gt=0)
    """What the component's value is multiplied with."""
    when: Literal["always", "correct"] = "always"
    """`correct` pays the component only to completions with a correct answer."""
    options: dict[str, OptionValue] = {}
    """What this component lets one choose: `length` has `target_tokens` and `buffer`, `language` has `script`, a
    function of your own `range: [LOW, HIGH]`; the others have none."""


class VerifySection(Section):
    """What the verdict behind `correct` may be lenient about. The defaults are those of `razona.verify.Settings`."""

    percent: Literal["strict", "lenient"] = "strict"
    """`strict`: 10 % is 0.1 and nothing else. `lenient`: it is 10 as well."""
    order: Literal["set", "ordered"] = "set"
    """`set`: `1, 2` without brackets may come in any order. `ordered`: it may not."""
    units: Literal["lenient", "required"] = "lenient"
    """`required`: the answer must write the target's unit. `lenient`: it may leave it out, but not write another."""
    relation_as_set: bool = True
    """Whether a chain of inequalities in x may stand for the interval."""
    tolerance: float | None = Field(default=None, gt=0, lt=1)
    """Numbers this close, relative to the target, are equal. null: only equal numbers are."""
    code_timeout_s: float = Field(default=5.0, gt=0)
    """Seconds that all tests of one completion may take together. Only read with kind `code`."""
    code_isolation: Literal["auto", "bubblewrap", "landlock", "none"] = "auto"
    """The walls around code that a model wrote. `none` must be asked for by name. Only read with kind `code`."""


class RewardsSection(Section):
    """What a completion is paid for."""

    kind: Literal["math", "code", "logic"] = "math"
    """What `correct` means: the answer equals the target, all tests pass, or the answer solves the puzzle."""
    components: list[RewardComponent] = Field(
        default=[RewardComponent(name="correct"), RewardComponent(name="format", weight=0.2, when="correct")],
        min_length=1,
    )
    """The reward is the sum of weight x value. Default: 1 for a correct answer, and 0.2 more if its form is right
    (our demo): form alone earns nothing."""
    mix: Literal["sound", "sum"] = "sound"
    """`sound` demands that no wrong completion can be paid as much as a correct one, proven from weights and ranges.
    `sum` adds whatever is there (baselines)."""
    verify: VerifySection = VerifySection()
    """What the verdict may be lenient about."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_component_names([component.name for component in self.components])
        return self

    def weights(self) -> dict[str, float]:
        """Give component name -> weight."""
        return {component.name: component.weight for component in self.components}


class RolloutSection(Section):
    """How completions are sampled from the policy during training."""

    engine: Literal["native", "transformers"] = "native"
    """What samples. `native` is our own loop over the policy's weights, for the Llama, Qwen2 and Qwen3 families; for
    other models, and by request, transformers' forward does it."""
    max_slots: int | None = Field(default=None, ge=1)
    """Completions that `native` runs at a time: bounds the memory of their keys and values. null: all of a step."""
    group_size: int = Field(default=8, ge=2)
    """Completions per problem (8 is TRL's `num_generations`). GRPO compares them with each other, hence at least 2."""
    max_completion_tokens: int = Field(default=96, ge=1)
    """Tokens after the prompt. A completion that reaches the limit counts as truncated. 96 is our demo, whose
    solutions are short; a model that thinks aloud needs 1024 and more."""
    temperature: float = Field(default=1.0, gt=0)
    """1.0 samples the policy itself (TRL's default); anything else makes rollout and trained policy differ."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Samples among the likeliest tokens with this total probability. 1.0 switches it off (TRL's default)."""
    top_k: int = Field(default=0, ge=0)
    """Samples among this many likeliest tokens. 0 switches it off (TRL's default)."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Leaves out tokens less likely than this share of the likeliest one. 0 switches it off (TRL's default)."""


class TrainSection(Section):
    """How the policy is moved."""

    method: Literal["grpo"] = "grpo"
    """Group Relative Policy Optimization, arXiv:2402.03300."""
    steps: int = Field(default=50, ge=1)
    """Optimizer updates. Our demo takes 40."""
    completions_per_step: int = Field(default=256, ge=2)
    """Completions of one update over all processes, which each take as many whole groups. 256 is our demo: 32 groups
    of 8."""
    sampling: Literal["uniform", "informative"] = "uniform"
    """Which problems a step samples. `uniform`: one after the other. `informative`: groups whose rewards are all equal
    teach nothing, so a step samples more until it has enough others (dynamic sampling, DAPO, arXiv:2503.14476), and
    problems that were always or never solved come back later."""
    sampling_rounds: int = Field(default=3, ge=1)
    """With `informative`: how often a step samples at most, each round for the groups that are still missing. If they
    do not suffice, groups that teach nothing fill the step."""
    microbatch_size: int = Field(default=64, ge=1)
    """Completions per backward pass of one process; must divide its share of `completions_per_step`. Changes memory and
    speed, not the gradient. 64 is our demo."""
    learning_rate: float = Field(default=1e-5, gt=0)
    """AdamW's peak. 1e-5 is TRL's advice for LoRA ("LoRA Without Regret"; 1e-6 without an adapter). Small models
    bear far more: see the shipped recipe `demo`."""
    warmup_steps: int = Field(default=3, ge=0)
    """Steps over which the learning rate rises to its peak. 0: none. 3 is our demo."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """The learning rate after the warm-up: kept, or brought down to 0 at the last step (our demo keeps it)."""
    loss_type: Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"] = "dapo"
    """TRL's names, TRL's default. `dapo` weighs every token of a step alike (arXiv:2503.14476)."""
    kl_weight: float = Field(default=0.0, ge=0)
    """Weight of the KL to the untrained model, TRL's `beta`. 0 (TRL's default) loads no reference model."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """The probability ratio is clipped at 1 - clip_low (PPO, arXiv:1707.06347; TRL's `epsilon`)."""
    clip_high: float = Field(default=0.28, gt=0)
    """The probability ratio is clipped at 1 + clip_high (DAPO, arXiv:2503.14476; TRL's `epsilon_high`). `cispo`
    clips its weight there: 5.0 (arXiv:2510.13786)."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """By whose standard deviation advantages are divided. `group` is GRPO and TRL's default; `none` is Dr. GRPO,
    arXiv:2503.20783."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients with a larger norm are scaled down to it (transformers' default). 0 switches it off."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's (transformers' default). 0 switches it off."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of data order, sampling and adapter weights: equal seeds give equal runs on equal machines. Below 2^32,
    numpy's limit."""
    save_every: int = Field(default=10, ge=1)
    """Steps between checkpoints. 10 is our demo: an interruption costs at most 9 steps."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the arithmetic. `auto` is bfloat16 on a GPU that has it and on a CPU with instructions for it (AMX), float32
    elsewhere. On a CPU only large products are, of sampling and of the training pass (where an adapter is a plain
    LoRA); a model whose batches cannot be packed trains under autocast, by `bfloat16` alone."""


class GuardSection(Section):
    """How the run looks after itself: it measures the policy on problems that it does not train on, keeps the best,
    goes back to it after a collapse, and can stop early.
    """

    every: int = Field(default=0, ge=0)
    """Steps between two measurements; the first is before step 1, another after the last step. 0: none is made, and the
    run ends with its last weights. Our demo takes 10."""
    num_problems: int = Field(default=64, ge=2)
    """Problems of a measurement, the same each time. From `tasks` they are generated beside the training's and the
    comparison's; a file or hub data set gives them up. With 64 x 4 the paired 95 % interval is at most +-9 points
    wide (our demo)."""
    samples: int = Field(default=4, ge=1)
    """Completions per problem, at `evaluate.temperature`."""
    patience: int | None = Field(default=None, ge=1)
    """Measurements without a new best after which the run stops. null: it goes to its last step."""
    collapse: float = Field(default=0.15, gt=0, lt=1)
    """Fall of the accuracy below the best, from 0 to 1, beyond which the run goes back to the best weights, at half the
    learning rate; the fall's paired 95 % interval must exclude 0, too. 0.15 is well beyond the 9 points of that
    interval on 64 x 4 (our choice)."""
    max_rollbacks: int = Field(default=2, ge=0)
    """How often it goes back. At the next collapse it stops, with the best weights (our choice)."""


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
    """Trackers, each a package of its own. Empty: the run folder alone, and nothing leaves the machine."""


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
    guard: GuardSection = GuardSection()
    evaluate: EvaluateSection = EvaluateSection()
    report: ReportSection = ReportSection()

    @model_validator(mode="after")
    def _check(self) -> Self:
        train = self.train
        _raise_all(
            [
                lambda: check_step_size(self.rollout.group_size, train.completions_per_step),
                lambda: check_microbatch_size(train.microbatch_size, train.completions_per_step),
                lambda: check_components(self.rewards.components, self.rewards.kind),
                lambda: check_soundness(self.rewards.mix, self.rewards.components),
                lambda: check_families(self.data.source, self.data.families),
                lambda: check_guard(self.guard.every, self.guard.patience),
                lambda: check_reference(self.model.revision, self.lora is None, train.kl_weight),
            ]
        )
        return self
