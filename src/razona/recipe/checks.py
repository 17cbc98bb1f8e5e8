"""What must fit together in a recipe: one small function a rule, each with the numbers and the way out."""

import math
import re
from collections.abc import Mapping, Sequence

from razona.core.errors import RecipeError

MAX_SUGGESTIONS = 6
"""Values that fit, as many as a message names."""
MAX_DIVISOR = 65_536
"""Where the search for values that fit ends."""
_PLACEHOLDER = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")


def fill_placeholders(template: str, values: Mapping[str, str]) -> str:
    r"""Replace each `{name}` by its value, and each `{{name}}` by the literal `{name}`.

    Other braces, as in `\boxed{...}`, stay as they are.

    Raises:
        RecipeError: a `{name}` that has no value.

    >>> fill_placeholders("Answer in {solution_open}, not in {{x}}.", {"solution_open": "<a>"})
    'Answer in <a>, not in {x}.'
    """
    unknown = [name for _, name in _PLACEHOLDER.findall(template) if name and name not in values]
    if unknown:
        raise RecipeError(
            f"prompt.system holds {{{unknown[0]}}}, which nothing fills; the placeholders are "
            f"{', '.join(f'{{{name}}}' for name in values)}. Write {{{{{unknown[0]}}}}} for these very characters."
        )
    return _PLACEHOLDER.sub(lambda found: f"{{{found[1]}}}" if found[1] else values[found[2]], template)


def check_tags(tags: Mapping[str, str]) -> None:
    """Refuse a prompt form in which one mark could be taken for another."""
    keys = list(tags)
    for number, key in enumerate(keys):
        twin = next((other for other in keys[:number] if tags[other] == tags[key]), None)
        if twin is not None:
            raise RecipeError(
                f"prompt.{key} and prompt.{twin} are both {tags[key]!r}; the four tags must differ. Change one of them."
            )


def check_template(text: str | None) -> None:
    """Refuse a chat template that is no Jinja."""
    if text is None:
        return
    from jinja2 import Environment, TemplateSyntaxError

    try:
        Environment().parse(text)
    except TemplateSyntaxError as error:
        raise RecipeError(
            f"prompt.chat_template is no Jinja template: line {error.lineno}: {error.message}. Expected text such as "
            "{% for message in messages %}{{ message['content'] }}{% endfor %}"
        ) from None


def check_component_names(names: Sequence[str]) -> None:
    """Refuse the same reward twice: its two parts could not be told apart in a receipt."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RecipeError(
            f"rewards.components names {', '.join(twice)} more than once. Keep one of each, with the weights added."
        )


def check_step_size(group_size: int, completions_per_step: int) -> None:
    """Refuse a step that would cut a group in two."""
    if completions_per_step % group_size == 0:
        return
    whole_groups = max(1, round(completions_per_step / group_size))
    raise RecipeError(
        f"train.completions_per_step = {completions_per_step} is not a multiple of "
        f"rollout.group_size = {group_size}, so one group would be split over two steps. "
        f"Set rollout.group_size to one of {_nearest_divisors(completions_per_step, group_size, smallest=2)}, "
        f"or train.completions_per_step to {group_size * whole_groups}."
    )


def check_microbatch_size(microbatch_size: int, completions_per_step: int) -> None:
    """Refuse microbatches that do not add up to a step."""
    if completions_per_step % microbatch_size == 0:
        return
    raise RecipeError(
        f"train.microbatch_size = {microbatch_size} does not divide train.completions_per_step = "
        f"{completions_per_step}, so the last backward pass of a step would be short. Set train.microbatch_size "
        f"to one of {_nearest_divisors(completions_per_step, microbatch_size, smallest=1)}."
    )


def check_num_processes(num_processes: int, group_size: int, microbatch_size: int, completions_per_step: int) -> None:
    """Refuse processes that could not each take the same whole groups and whole microbatches of a step."""
    unit = math.lcm(group_size, microbatch_size)
    if completions_per_step % (num_processes * unit) == 0:
        return
    share = completions_per_step / num_processes
    ways = [f"train.completions_per_step to {num_processes * unit * max(1, round(share / unit))}"]
    if completions_per_step % (num_processes * group_size) == 0:
        sizes = _nearest_divisors(completions_per_step // num_processes, microbatch_size, smallest=1)
        ways.insert(0, f"train.microbatch_size to one of {sizes}")
    fitting = _nearest_divisors(completions_per_step // unit, num_processes, smallest=1)
    raise RecipeError(
        f"train.completions_per_step = {completions_per_step} over {num_processes} processes is {share:g} for each; "
        f"expected a multiple of rollout.group_size = {group_size} and of train.microbatch_size = {microbatch_size}: "
        "a process takes whole groups and whole microbatches. "
        f"Set {', or '.join(ways)}, or the number of processes to one of {fitting}."
    )


def check_sharding(method: str, load_in_4bit: bool, sharding: str) -> None:
    """Refuse to share a model out to the processes where that has never worked: fine-tuning, and packed weights.

    Args:
        sharding: what shares it out; "" where each process holds all of it.
    """
    if not sharding:
        return
    if method != "grpo":
        raise RecipeError(
            f"train.method = {method} fine-tunes, which knows no sharding (here: {sharding}). Set train.method: grpo, "
            "or start the processes with --sharding none; or fine-tune first, in a run of its own, and give what it "
            "leaves as model.name."
        )
    if load_in_4bit:
        raise RecipeError(
            f"model.load_in_4bit: weights packed in 4 bits are not shared out (here: {sharding}). Set "
            "model.load_in_4bit: false, or start the processes with --sharding none."
        )


def check_reference(revision: str | None, trains_all_weights: bool, kl_weight: float) -> None:
    """Refuse a reference model that would be loaded without its revision: by name alone, as TRL does."""
    if revision is None or not trains_all_weights or kl_weight == 0:
        return
    raise RecipeError(
        f"train.kl_weight = {kl_weight:g} with lora: null needs a second model, the reference, and it would be loaded "
        f"without model.revision = {revision}. Download that revision and give its folder as model.name, set "
        "train.kl_weight: 0, or train an adapter, whose base is the reference."
    )


def check_fine_tuned_reference(method: str, trains_all_weights: bool, kl_weight: float) -> None:
    """Refuse a reference that would be the untrained model where GRPO begins with a fine-tuned one, without adapter."""
    if method != "sft_then_grpo" or not trains_all_weights or kl_weight == 0:
        return
    raise RecipeError(
        f"train.kl_weight = {kl_weight:g} with train.method = {method} and lora: null: TRL loads the reference by the "
        "model's name, which is the model before the fine-tuning. Set train.kl_weight: 0, train an adapter, or "
        "fine-tune first (train.method: sft) and give its folder as model.name."
    )


def check_families(source: str, families: Sequence[str]) -> None:
    """Refuse families of generators where the problems come from elsewhere: they would choose nothing."""
    if not families or source == "tasks":
        return
    raise RecipeError(
        f"data.families = [{', '.join(families)}] chooses among the generators, and data.source = {source} is none. "
        "Set data.families: [], or data.source: tasks."
    )


def check_data_folder(folder: str | None, not_in: Sequence[str]) -> None:
    """Refuse a folder of benchmarks that nothing is read from."""
    if folder is not None and not not_in:
        raise RecipeError(
            f"data.folder = {folder} holds local copies of the benchmarks in data.not_in, and data.not_in = []. Name "
            "one there, for example data.not_in: [math500], or set data.folder: null."
        )


def check_quantised(load_in_4bit: bool, trains_all_weights: bool) -> None:
    """Refuse to train weights of 4 bits: a gradient moves them by less than they can tell apart."""
    if load_in_4bit and trains_all_weights:
        raise RecipeError(
            "model.load_in_4bit = true with lora: null would train weights of 4 bits, which cannot be. Train an "
            "adapter (lora: {}), or set model.load_in_4bit: false."
        )


def check_guard(every: int, patience: int | None) -> None:
    """Refuse a guard that would count what is never measured."""
    if every == 0 and patience is not None:
        raise RecipeError(
            f"guard.patience = {patience} counts measurements, and with guard.every = 0 there are none. Set "
            "guard.every to a number of steps, or guard.patience: null."
        )


def _nearest_divisors(number: int, wanted: int, *, smallest: int) -> list[int]:
    candidates = (*range(smallest, min(number, MAX_DIVISOR)), number)
    divisors = [divisor for divisor in candidates if number % divisor == 0]
    nearest = sorted(divisors, key=lambda divisor: max(divisor / wanted, wanted / divisor))
    return sorted(nearest[:MAX_SUGGESTIONS])
