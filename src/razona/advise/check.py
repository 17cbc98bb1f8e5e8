"""The check before anything is spent: data, rewards, prompt, signal, versions, memory, disk.

Each rule says what it saw, why it hurts and what to change; errors stop training, unless they are allowed by name.
Rules in two parts: those that need no model, then those that look at the tokenizer, and at samples of the model.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from razona.advise.checks.answers import check_answers, check_red_team
from razona.advise.checks.data import check_data
from razona.advise.checks.engine import check_engine, small_group
from razona.advise.checks.finding import Finding, Severity, check_names, error
from razona.advise.checks.light_tokenizer import read_settings, read_tokenizer
from razona.advise.checks.machine import check_disk, check_memory, tell_compiling, tell_hours
from razona.advise.checks.prompt import ModelFacts, check_ends, check_lengths, check_prompts
from razona.advise.checks.samples import Effort, check_samples, describe, sample_base
from razona.advise.checks.versions import check_versions, installed
from razona.advise.devices import this_device
from razona.advise.shape import ModelShape, config_of
from razona.core.errors import CheckError, ColumnError, ModelError, RecipeError
from razona.core.launch import num_processes
from razona.core.nouns import Problem
from razona.data import load_problems
from razona.data.benchmarks import QUESTIONS, TARGETS, Asked, read_in_order
from razona.recipe import DataSection, Recipe, load, read_values

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from razona.advise.checks.light_tokenizer import LightTokenizer
    from razona.models.load import Policy

GENERATED = 256
"""Problems that are generated to be looked at; of a file or hub data set all are."""
QUICK_TARGETS, QUICK_PROMPTS = 2_000, 2_000
"""Targets that are read and prompts that are counted in the first seconds of training."""
NOT_OF_SFT = "engine-ignores-option, gold-form-mismatch, flat-reward, reward-red-team, no-signal, too-easy"
"""Rules on groups and their rewards."""
SLOW_RED_TEAM = "code"
"""The kind whose red team takes half a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What to look at, and what to overlook."""

    allow: Sequence[str] = ()
    """Rules whose errors do not stop, beside the recipe's `check.allow`."""
    against: Sequence[str] = ()
    """Evaluation sets that must not be among the problems, beside the recipe's `data.not_in`."""
    effort: Effort = field(default_factory=Effort)
    is_quick: bool = False
    """The first seconds of training: some rules look at a part, or leave the rest to `razona check`."""
    folder: Path = Path()
    """Where checkpoints will be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What was found, and what was not looked at."""

    findings: tuple[Finding, ...]
    allowed: tuple[str, ...] = ()
    """Rules that are allowed by name."""
    notes: tuple[str, ...] = ()
    """Figures that are no finding."""
    not_looked_at: tuple[str, ...] = ()
    """Rules, each with the reason."""
    seconds: float = 0.0

    @property
    def errors(self) -> list[Finding]:
        """The findings that stop the training."""
        return [one for one in self.findings if one.severity is Severity.ERROR and one.rule not in self.allowed]

    def as_row(self) -> dict[str, object]:
        """Give it as JSON holds it."""
        findings = [{**asdict(one), "is_allowed": one.rule in self.allowed} for one in self.findings]
        return {**asdict(self), "findings": findings, "is_passed": not self.errors}

    def raise_errors(self) -> None:
        """Stop where there are errors.

        Raises:
            CheckError: it names each of them.
        """
        if self.errors:
            rules = list(dict.fromkeys(one.rule for one in self.errors))
            told = "\n".join(f"  - {one.rule}: {one.saw}. To change: {one.change}." for one in self.errors)
            allow = " ".join(f"--allow {rule}" for rule in rules)
            raise CheckError(
                f"the check found {len(self.errors)} error{'s'[: len(self.errors) != 1]}, and nothing was trained:\n"
                f"{told}\nMend them, or overrule them by name: {allow}"
            )


class Check:
    """The check of one recipe, in two parts, so that a run need not load its model twice.

    Raises:
        RecipeError: a rule that is to be allowed does not exist.
    """

    def __init__(self, recipe: Recipe, options: CheckOptions | None = None) -> None:
        self.options = options or CheckOptions()
        check_names(self.options.allow, "--allow")
        check_names(recipe.check.allow, "check.allow:")
        self.recipe = recipe
        self._problems: list[Problem] = []
        self._findings: list[Finding] = []
        self._notes: list[str] = []
        self._not_looked_at: list[str] = []
        self._seconds = 0.0
        self._config: Mapping[str, object] | None = None
        """Of the model, None until it was read, and where it cannot be."""
        self._shape: ModelShape | None = None

    @property
    def result(self) -> CheckResult:
        """What was found so far."""
        return CheckResult(
            findings=tuple(self._findings),
            allowed=tuple(dict.fromkeys((*self.recipe.check.allow, *self.options.allow))),
            notes=tuple(self._notes),
            not_looked_at=tuple(self._not_looked_at),
            seconds=self._seconds,
        )

    def before_loading(self) -> None:
        """Apply the rules that need no model. Loads no torch.

        Raises:
            DataError: the data cannot be read.
        """
        started = time.monotonic()
        recipe = self.recipe
        self._add(check_versions(installed()))
        self._check_problems()
        if recipe.train.method == "sft":
            self._not_looked_at.append(f"{NOT_OF_SFT}: train.method = sft samples no groups and pays no rewards")
        else:
            self._add(check_engine(recipe))
            self._check_rewards()
        self._check_machine()
        self._seconds += time.monotonic() - started

    def without_model(self) -> None:
        """Apply the rules on prompts by the model's files alone. Loads no torch."""
        started = time.monotonic()
        section = self.recipe.model
        config = self._config  # where that cannot be had, nor can the rest, and a hub is asked once
        tokenizer = read_tokenizer(section) if config is not None else None
        if tokenizer is None or config is None:
            self._not_looked_at.append(
                f"missing-tag, double-tag, eos-masked, beyond-positions: the files of model.name = {section.name} "
                "(tokenizer.json, config.json) cannot be had"
            )
        else:
            facts = ModelFacts.of(tokenizer, config, read_settings(section, "generation_config.json"))
            self._check_prompts(tokenizer, facts)
        if self.recipe.train.method != "sft":
            self._not_looked_at.append("limit-below-median, truncation, no-signal, too-easy: no model was sampled")
        self._seconds += time.monotonic() - started

    def with_policy(self, policy: "Policy") -> None:
        """Apply the rules on prompts, and sample the untrained model."""
        started = time.monotonic()
        settings = policy.model.generation_config
        generation = settings.to_dict() if settings is not None else {}
        facts = ModelFacts.of(policy.tokenizer, policy.model.config.to_dict(), generation)
        self._check_prompts(policy.tokenizer, facts)
        if self._problems and self.recipe.train.method != "sft":
            samples, reason = sample_base(self.recipe, policy, self._problems, self.options.effort)
            if samples is None:
                self._not_looked_at.append(f"limit-below-median, truncation, no-signal, too-easy: {reason}")
            else:
                is_tuned_first = self.recipe.train.method != "grpo"
                self._add(check_samples(self.recipe, samples), is_tuned_first=is_tuned_first)
                self._notes.append(describe(self.recipe, samples))
        self._seconds += time.monotonic() - started

    def _add(self, findings: Iterable[Finding], *, is_tuned_first: bool = False) -> None:
        """Note findings; on what supervised fine-tuning will change before any reward is paid, they only warn."""
        self._findings += [replace(one, severity=Severity.WARNING) if is_tuned_first else one for one in findings]

    def _check_problems(self) -> None:
        recipe, options = self.recipe, self.options
        groups = recipe.train.completions_per_step // recipe.rollout.group_size
        try:
            self._problems = load_problems(
                recipe.data, count=max(GENERATED, groups), at_least=groups, seed=recipe.train.seed
            )
        except ColumnError as refused:
            self._findings.append(error("wrong-column", str(refused).rstrip("."), "name the column that holds it"))
            self._not_looked_at.append("every rule that needs problems: they could not be read")
            return
        against = _read_all(options.against, recipe)
        most = QUICK_TARGETS if options.is_quick else None
        self._problems, found = check_data(recipe, self._problems, against, most)
        self._add(found)

    def _check_rewards(self) -> None:
        recipe = self.recipe
        if self._problems and not any(one.rule == "wrong-column" for one in self._findings):
            shown = recipe.prompt.system_text() + (recipe.prompt.chat_template or "")
            self._add(check_answers(recipe, self._problems, shown))
        if recipe.rewards.kind == SLOW_RED_TEAM and self.options.is_quick:
            self._not_looked_at.append("reward-red-team: for code it takes half a minute; razona redteam RECIPE does")
        else:
            self._add(check_red_team(recipe))

    def _check_prompts(self, tokenizer: "PreTrainedTokenizerBase | LightTokenizer", facts: ModelFacts) -> None:
        recipe = self.recipe
        most = QUICK_PROMPTS if self.options.is_quick else None
        self._add(check_prompts(recipe, self._problems, tokenizer), is_tuned_first=recipe.train.method != "grpo")
        self._add(check_ends(facts, tokenizer, recipe.prompt.chat_template))
        self._add(check_lengths(recipe, self._problems[:most], tokenizer, facts.positions))

    def _check_machine(self) -> None:
        try:
            self._config = config_of(self.recipe.model)
            self._shape = ModelShape.of_config(self._config)
            if self.recipe.train.method != "sft":  # the estimate is of a GRPO step
                self._add(check_memory(self.recipe, self._shape, this_device(), num_processes()))
            self._add(check_disk(self.recipe, self._shape, self.options.folder))
        except (ModelError, RecipeError) as unknown:
            self._not_looked_at.append(f"memory, disk, hours: {unknown}")

    def tell_hours(self) -> None:
        """Note the estimated time of the run, and what would shorten it; may measure how fast this machine is."""
        if self._shape is not None and self.recipe.train.method != "sft":
            of_run = (self.recipe, self._shape, this_device(), num_processes())
            self._notes += filter(None, [tell_hours(*of_run), tell_compiling(*of_run)])


def check(
    recipe: Recipe, options: CheckOptions | None = None, *, load_policy: "Callable[[], Policy] | None"
) -> CheckResult:
    """Check a recipe.

    Args:
        load_policy: gives the model; None: only its files are read, and nothing is sampled.

    Raises:
        RecipeError: a rule that is to be allowed does not exist.
        DataError: the data cannot be read.
        ModelError: the model cannot be loaded.
    """
    made = Check(recipe, options)
    made.before_loading()
    if load_policy is None:
        made.without_model()
    else:
        made.tell_hours()
        made.with_policy(load_policy())
    return made.result


def explain_refusal(name: str, overrides: Sequence[str]) -> CheckResult | None:
    """Give the finding that is behind a recipe which cannot be loaded; None where no rule knows it."""
    rollout = read_values(name, overrides).get("rollout")
    finding = small_group(rollout.get("group_size")) if isinstance(rollout, Mapping) else None
    return None if finding is None else CheckResult(findings=(finding,))


def load_recipe(name: str, overrides: Sequence[str]) -> Recipe:
    """Load a recipe; where a rule knows why it is refused, the error has the rule's name.

    Raises:
        RecipeError: as `razona.recipe.load`.
        CheckError: a rule found it.
    """
    try:
        return load(name, overrides)
    except RecipeError:
        explained = explain_refusal(name, overrides)
        if explained is not None:
            explained.raise_errors()
        raise


def _read_all(names: Sequence[str], recipe: Recipe) -> dict[str, Sequence[Problem]]:
    """Read evaluation sets: files may have the columns of the training set, or usual ones."""
    section = DataSection(
        question_column=[*_list(recipe.data.question_column), *QUESTIONS],
        target_column=[*_list(recipe.data.target_column), *TARGETS],
    )
    return {
        name: read_in_order(Asked(data=name, section=section, kind=recipe.rewards.kind)).problems
        for name in dict.fromkeys(names)
    }


def _list(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names
