"""The recipe's section `rewards`: what a completion is paid for."""

from typing import Literal, Self

from pydantic import Field, model_validator

from razona.recipe.checks import check_component_names
from razona.recipe.components import OptionValue
from razona.recipe.section import Section, Text


class RewardComponent(Section):
    """One thing that is paid for."""

    name: Text
    """A reward of `razona.rewards`: `correct`, `format`, ...; or a function of your own with TRL's signature, as
    `package.module:function` or `path/to/file.py:function`."""
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
    function_timeout_s: float | None = Field(default=600.0, gt=0)
    """Seconds that a function of your own may take for one batch of completions; then the run stops with a checkpoint
    (our choice: a judge behind a network takes minutes). null: any time."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_component_names([component.name for component in self.components])
        return self

    def weights(self) -> dict[str, float]:
        """Give component name -> weight."""
        return {component.name: component.weight for component in self.components}
