"""What a recipe has to know of each reward: what it can pay, for which problems, with which options.

The rewards themselves are functions of `razona.rewards`, a higher floor; a test holds that both lists have the same
names. A name with a colon, `package.module:function`, is a function of the person's own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from razona.core.errors import RecipeError

if TYPE_CHECKING:
    from razona.recipe.rewards import RewardComponent

OptionValue = bool | int | float | str | list[int | float]
"""What a reward's option can be in YAML."""
KINDS = ("math", "code", "logic")
"""What a data set's problems are, and with it what `correct` means."""
SCRIPTS = ("latin", "cyrillic", "greek", "arabic", "hebrew", "devanagari", "thai", "hangul", "han", "japanese")
"""Scripts that the reward `language` knows."""
NEGLIGIBLE = 1e-6
"""Pays that differ by less, relative to them, count as equal: TRL stores rewards in 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The smallest and the largest value that a reward gives."""

    low: float
    high: float

    def with_zero(self) -> "Span":
        """Give the span with 0, which a reward is worth that gives no value."""
        return Span(low=min(0.0, self.low), high=max(0.0, self.high))


UNIT = Span(low=0.0, high=1.0)
ZERO = Span(low=0.0, high=0.0)
ONE = Span(low=1.0, high=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionFacts:
    """What an option may be."""

    expected: str
    """For messages."""
    fits: Callable[[OptionValue], bool]
    default: OptionValue | None = None
    """None where there is none."""
    is_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentFacts:
    """What can be known of a reward without calling it."""

    if_correct: Span = UNIT
    """Its values where the completion is correct."""
    if_incorrect: Span = UNIT
    """Its values where the completion is not."""
    kinds: Sequence[str] = KINDS
    """The kinds of problem it can be asked for."""
    options: Mapping[str, OptionFacts] = field(default_factory=dict)


def _is_count(value: OptionValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_range(value: OptionValue) -> bool:
    return isinstance(value, list) and len(value) == 2 and value[0] <= value[1]


FACTS: Mapping[str, ComponentFacts] = {
    "correct": ComponentFacts(if_correct=ONE, if_incorrect=ZERO),
    "format": ComponentFacts(),
    "format_partial": ComponentFacts(),
    "number_close": ComponentFacts(if_correct=ONE, kinds=("math",)),
    "code_tests": ComponentFacts(if_correct=ONE, kinds=("code",)),
    "logic": ComponentFacts(),
    "length": ComponentFacts(
        if_correct=Span(low=-1.0, high=0.0),
        if_incorrect=Span(low=-1.0, high=0.0),
        options={
            "target_tokens": OptionFacts(
                expected="a whole number of tokens, 1 or more", fits=_is_count, is_required=True
            ),
            "buffer": OptionFacts(expected="a whole number of tokens, 1 or more", fits=_is_count),
        },
    ),
    "language": ComponentFacts(
        options={
            "script": OptionFacts(
                expected=f"one of {', '.join(SCRIPTS)}", fits=lambda value: value in SCRIPTS, default="latin"
            )
        }
    ),
    "random": ComponentFacts(),
    "format_exact": ComponentFacts(if_correct=Span(low=0.0, high=3.0), if_incorrect=Span(low=0.0, high=3.0)),
    "format_approximate": ComponentFacts(if_correct=Span(low=-3.0, high=1.5), if_incorrect=Span(low=-3.0, high=1.5)),
    "check_answer": ComponentFacts(if_correct=Span(low=-4.5, high=5.0), if_incorrect=Span(low=-4.5, high=5.0)),
    "check_numbers": ComponentFacts(if_correct=Span(low=-2.5, high=3.5), if_incorrect=Span(low=-2.5, high=3.5)),
}
"""Name -> facts. The last four are the notebooks', on their own scale."""
USER = ComponentFacts(
    options={"range": OptionFacts(expected="[LOW, HIGH], the least and the most that it returns", fits=_is_range)}
)
"""Of every function of the person's own; its spans are those of its option `range`."""


def is_user_function(name: str) -> bool:
    """Say whether a component's name is a path to a function."""
    return ":" in name


def facts_of(component: "RewardComponent") -> ComponentFacts:
    """Give what is known of a component; of an unknown one that its values are between 0 and 1."""
    if not is_user_function(component.name):
        return FACTS.get(component.name, ComponentFacts())
    span = user_range(component)
    spans = span.with_zero() if span else Span(low=-float("inf"), high=float("inf"))
    return ComponentFacts(if_correct=spans, if_incorrect=spans, options=USER.options)


def user_range(component: "RewardComponent") -> Span | None:
    """Give the range that a person's function was said to have, None where nothing was said."""
    pair = component.options.get("range")
    if isinstance(pair, list) and _is_range(pair):
        return Span(low=float(pair[0]), high=float(pair[1]))
    return None


def options_of(component: "RewardComponent") -> dict[str, OptionValue]:
    """Give a component's options with the defaults filled in."""
    defaults = {name: one.default for name, one in facts_of(component).options.items() if one.default is not None}
    return {**defaults, **component.options}


def check_components(components: "Sequence[RewardComponent]", kind: str) -> None:
    """Refuse unknown rewards, rewards of another kind of problem, and options that a reward does not have."""
    for component in components:
        if not is_user_function(component.name) and component.name not in FACTS:
            raise RecipeError(
                f"rewards.components names {component.name}, which is no reward.{_nearest(component.name, FACTS)} "
                f"The rewards are {', '.join(FACTS)}; a function of your own is package.module:function."
            )
        facts = facts_of(component)
        if kind not in facts.kinds:
            raise RecipeError(
                f"rewards.components names {component.name}, which judges problems of kind {' or '.join(facts.kinds)}, "
                f"and rewards.kind = {kind}. Remove it, or set rewards.kind: {facts.kinds[0]}."
            )
        _check_options(component, facts.options)


def _check_options(component: "RewardComponent", known: Mapping[str, OptionFacts]) -> None:
    for name, value in component.options.items():
        if name not in known:
            told = f"Its options are {', '.join(known)}." if known else "It has no options."
            raise RecipeError(
                f"rewards.components gives {component.name} the option {name}, which it does not have."
                f"{_nearest(name, known)} {told}"
            )
        if not known[name].fits(value):
            raise RecipeError(
                f"rewards.components gives {component.name} the option {name} = {value!r}; "
                f"expected {known[name].expected}."
            )
    missing = [name for name, one in known.items() if one.is_required and name not in component.options]
    if missing:
        raise RecipeError(
            f"rewards.components has {component.name} without its option {missing[0]}; "
            f"expected {known[missing[0]].expected}: {{name: {component.name}, options: {{{missing[0]}: ...}}}}."
        )


def _nearest(name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def check_soundness(mix: str, components: "Sequence[RewardComponent]") -> None:
    """Refuse a mix in which a wrong completion could be paid as much as a correct one.

    Proven over all values: the least that a correct completion is paid, the sum of weight x lowest value, is more than
    the most that any other is paid. `when: correct` pays nothing to the others. A mix that is `sum` is never refused.
    """
    if mix != "sound":
        return
    names = [component.name for component in components]
    if "correct" not in names:
        raise RecipeError(
            f"rewards.mix = sound, and rewards.components has no `correct` (it has {', '.join(names)}), so nothing "
            "pays for being right. Add {name: correct}, or set rewards.mix: sum."
        )
    unknown = [one.name for one in components if is_user_function(one.name) and user_range(one) is None]
    if unknown:
        raise RecipeError(
            f"rewards.mix = sound, and rewards.components has {', '.join(unknown)}, of which nobody knows what it can "
            "return. Say it: options: {range: [LOW, HIGH]} (every value is then held to it), or set rewards.mix: sum."
        )
    least = {one.name: one.weight * facts_of(one).if_correct.low for one in components}
    most = {one.name: one.weight * facts_of(one).if_incorrect.high for one in components if one.when == "always"}
    least_sum, most_sum = sum(least.values()), sum(most.values())
    if least_sum - most_sum > NEGLIGIBLE * max(1.0, abs(least_sum)):
        return
    raise RecipeError(
        f"rewards.mix = sound, and in rewards.components the parts of a wrong completion can add up to {most_sum:g} "
        f"({_told(most) or 'nothing'}), those of a correct one to no more than {least_sum:g} (the {least['correct']:g} "
        f"of `correct`{_told_after(least)}), so a wrong completion could be paid as much as a correct one. Lower their "
        "weights, give them when: correct, or set rewards.mix: sum."
    )


def _told(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in parts.items() if value and name != "correct")


def _told_after(parts: Mapping[str, float]) -> str:
    told = _told(parts)
    return f", {told}" if told else ""
