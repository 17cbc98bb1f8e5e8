"""`razona base build`: corpus, tokenizer, weights, checkpoints with their figures, and the card."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from razona.core.allocator import keep_freed_memory
from razona.core.environment import describe_environment, describe_hardware
from razona.core.errors import RecipeError
from razona.core.files import write_json, write_text
from razona.embedded import corpus
from razona.embedded.card import write_card
from razona.embedded.pretrain import PretrainSettings, make_model, pretrain_round
from razona.embedded.tokenizer import learn
from razona.evaluate.measure import measure
from razona.evaluate.plan import Plan
from razona.evaluate.prompts import TRAINING_PROMPT
from razona.models.load import Policy
from razona.recipe import EvaluateSection, Recipe, load

LOG_EVERY = 50
CHECKPOINT_PROBLEMS = 128
"""Problems at a checkpoint: enough to see the trend, few enough not to cost more than the training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What the command line asks for."""

    seed: int = 0
    steps: int | None = None
    """Optimizer updates; None is the full build."""
    minutes: float | None = None
    """Decides the updates by the clock instead."""
    evaluate_every: int = 1000
    """Updates between two checkpoints with their pass@1 and pass@8."""
    evaluate_problems: int = 512
    """Problems of the final evaluation."""


def build_base(out: Path, options: BuildOptions, say: Callable[[str], None]) -> dict[str, object]:
    """Pretrain the base model and write it to `out`: weights, tokenizer, `build.json` and a card.

    Pretraining has two rounds of the same length; the corpus of the second holds more worked solutions. Equal steps
    and seed give equal weights on equal hardware. With `minutes` the clock decides the steps of the first round, and
    the second makes as many; the command with these steps is in `build.json`. Checkpoints with their figures go to
    `out/checkpoints`.

    Returns:
        What `build.json` holds.
    """
    if options.steps is not None and options.minutes is not None:
        raise RecipeError("--steps and --minutes both decide how long the build takes; give one of them")
    keep_freed_memory()
    settings = PretrainSettings(seed=options.seed)
    if options.steps is not None:
        settings = replace(settings, steps=options.steps)
    started = time.monotonic()
    tokenizer = learn(corpus.documents(settings.seed, 0, settings.tokenizer_documents), settings.vocabulary_size)
    model = make_model(settings, tokenizer)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    say(f"Tokenizer: {len(tokenizer)} tokens. Model: {parameters:,} parameters. Log and checkpoints in {out}.")
    recipe = load("demo")
    losses: list[list[float]] = []
    checkpoints: list[dict[str, object]] = []

    steps = 0

    def on_step(step_of_round: int, loss: float, seconds: float) -> None:
        step = steps + step_of_round
        if step % LOG_EVERY == 0 or step == 1:
            losses.append([step, round(loss, 4)])
            rate = step_of_round * settings.tokens_per_step / seconds
            say(f"step {step:>5}  loss {loss:.3f}  {seconds:.0f} s  {rate:,.0f} tokens/s")
        if step % options.evaluate_every == 0:
            figures = _figures(recipe, Policy(model=model, tokenizer=tokenizer, name="base"), CHECKPOINT_PROBLEMS)
            checkpoints.append({"step": step, **figures})
            _save(model, tokenizer, out / "checkpoints" / f"step-{step:06d}")
            write_json(out / "checkpoints" / "figures.json", checkpoints)
            say(f"step {step:>5}  pass@1 {figures['pass_at_1']:.1%}  pass@8 {figures['pass_at_8']:.1%}")
            model.train()

    first_round = settings.steps_per_round if options.minutes is None else None
    half = (options.minutes or 0.0) / 2
    steps = pretrain_round(
        model, tokenizer, settings, first_document=0, steps=first_round, minutes=half, on_step=on_step
    )
    steps += pretrain_round(
        model, tokenizer, settings, first_document=corpus.SECOND_ROUND, steps=steps, on_step=on_step
    )
    _save(model, tokenizer, out)
    build = {
        "command": _command(options, steps),
        "settings": asdict(replace(settings, steps=steps)),
        "parameters": parameters,
        "vocabulary": len(tokenizer),
        "tokens": steps * settings.tokens_per_step,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "hardware": describe_hardware(),
        "torch": torch.__version__,
        "git_commit": describe_environment({})["git_commit"],
        "document_shares": corpus.count_kinds(settings.seed, 20_000),
        "losses": losses,
        "checkpoints": checkpoints,
        **describe(recipe, Policy(model=model, tokenizer=tokenizer, name="base"), options.evaluate_problems),
    }
    write_json(out / "build.json", build)
    write_text(out / "README.md", write_card(build))
    return build


def _command(options: BuildOptions, steps: int) -> str:
    return f"razona base build --seed {options.seed} --steps {steps}"


def _save(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def _with_problems(recipe: Recipe, count: int) -> Recipe:
    section: EvaluateSection = recipe.evaluate.model_copy(
        update={"num_problems": count, "ood_num_problems": count, "best_prompt_problems": count}
    )
    return recipe.model_copy(update={"evaluate": section})


def _figures(recipe: Recipe, policy: Policy, count: int) -> dict[str, object]:
    plan = Plan(recipe=_with_problems(recipe, count))
    sides = plan.run(policy, plan.held_out())
    return measure(sides.sampled, sides.greedy, recipe.evaluate.samples)


def describe(recipe: Recipe, policy: Policy, count: int) -> dict[str, object]:
    """Measure a base model as the card tells it: held-out, harder, and under the other prompts."""
    plan = Plan(recipe=_with_problems(recipe, count))
    problems = plan.held_out()
    held_out, ood = plan.run(policy, problems), plan.run(policy, plan.out_of_distribution())
    k = recipe.evaluate.samples
    return {
        TRAINING_PROMPT: measure(held_out.sampled, held_out.greedy, k),
        "ood": measure(ood.sampled, ood.greedy, k),
        "prompts": plan.run_prompts(policy, problems, plan.other_prompts(policy, problems)),
    }
