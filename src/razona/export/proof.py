"""The proof of an export: it is loaded afresh and must say what the run's own policy says."""

# Shapes: N positions over all probes, V vocabulary.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from razona.core.errors import ExportError
from razona.core.nouns import Outcome, Problem
from razona.data import PromptWriter
from razona.evaluate.compare import differences
from razona.evaluate.evaluation import Evaluation, Judged
from razona.evaluate.measure import shown
from razona.evaluate.plan import PROBLEM_SEED
from razona.evaluate.prompts import WritePrompt
from razona.evaluate.sampling import evaluate, judge_of
from razona.evaluate.statistics import difference_with_interval
from razona.export.problems import Asked, choose_problems
from razona.export.source import Source
from razona.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from razona.models.load import Policy

NUM_PROBES = 8
"""Prompts, each with the answer that the run's policy gives, on which logits are compared."""
MAX_POSITIONS = 32
"""Last positions of a probe whose logits are compared: 8 x 32 rows of a vocabulary of 150,000 take 155 MB."""
ROUNDING = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Largest relative error of storing a number."""
ROUNDINGS_ALLOWED = 16
"""Relative error of the logits, in roundings of a weight. Each product of a layer adds one, independent of the others,
so that they grow with the root of the depth: over 36 layers of 7 products, about 16."""
LEAST_TOLERANCE = 1e-5
"""float32 rounds by less than the order in which products are summed changes them: merged and unmerged differ by it."""
LEAST_EFFECT_KEPT = 0.5
"""Share of what training changed in the logits that must be there in the export."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the run's own policy says, before anything is exported."""

    recipe: Recipe
    asked: Asked
    probe_texts: tuple[str, ...]
    """Prompts with their answers, on which logits are compared."""
    probes: tuple[tuple[int, ...], ...]
    """Their token ids."""
    texts: tuple[str, ...]
    """Every prompt and every answer, for the check of a tokenizer."""
    tuned_NV: "torch.Tensor"
    base_NV: "torch.Tensor"
    greedy: Evaluation
    ends: tuple[int, ...]
    """Ids that ended a completion in training."""
    dtype: str
    """Of the arithmetic, in which exports are loaded too."""


def measure_reference(source: Source, num_problems: int) -> Reference:
    """Let the run's own policy answer, and take its logits and its base's.

    Raises:
        ModelError: the base cannot be loaded.
        DataError: the data set is not there.
        ExportError: training changed nothing that can be seen in the logits.
    """
    from razona.models.load import load_policy, load_tuned
    from razona.rollout.engine import end_ids

    recipe = source.recipe
    policy = load_tuned(recipe.model, source.run.adapter)
    asked = choose_problems(recipe, policy.tokenizer, num_problems)
    prompts = dict(zip((problem.id for problem in asked.problems), asked.prompts, strict=True))
    greedy = _answer(policy, recipe, asked.problems, lambda problem: prompts[problem.id])
    answers = [row[0].completion.text for row in greedy.judged_PK]
    probe_texts = [prompt + answer for prompt, answer in zip(asked.prompts, answers, strict=True)][:NUM_PROBES]
    probes = [tuple(ids) for ids in policy.tokenizer(probe_texts, add_special_tokens=False)["input_ids"]]
    tuned_NV = logits_of(policy, probes)
    ends, dtype = tuple(end_ids(policy.model, policy.tokenizer)), str(policy.model.dtype).removeprefix("torch.")
    if source.has_adapter:
        from peft import PeftModel

        assert isinstance(policy.model, PeftModel)
        with policy.model.disable_adapter():
            base_NV = logits_of(policy, probes)
    else:
        del policy
        base_NV = logits_of(load_policy(recipe.model, trains_all_weights=True), probes)
    if relative_error(tuned_NV, base_NV) == 0:
        raise ExportError(
            f"{source.run.adapter} has no effect: the logits of the tuned policy are those of its base, to the last "
            "bit. The training moved no weight, or the folder was replaced. Look at metrics.jsonl and train again."
        )
    return Reference(
        recipe=recipe,
        asked=asked,
        probe_texts=tuple(probe_texts),
        probes=tuple(probes),
        texts=(*asked.prompts, *answers),
        tuned_NV=tuned_NV,
        base_NV=base_NV,
        greedy=greedy,
        ends=ends,
        dtype=dtype,
    )


def prove(policy: "Policy", reference: Reference, stored_dtype: str) -> dict[str, object]:
    """Compare a freshly loaded export with the run's own policy, and give the figures of both comparisons.

    Args:
        stored_dtype: of the exported weights.

    Raises:
        ExportError: the export is not what was trained.
    """
    logits = compare_logits(logits_of(policy, reference.probes), reference, stored_dtype)
    writer = PromptWriter(section=reference.recipe.prompt, tokenizer=policy.tokenizer)
    return {"logits": logits, "score": compare_scores(policy, reference, writer.write)}


def logits_of(policy: "Policy", probes: Sequence[Sequence[int]]) -> "torch.Tensor":
    """Give the logits of each probe's last positions, [N, V] in float32, on the CPU, each row with mean 0.

    A constant added to a row changes no probability, so it is taken out.
    """
    import torch

    model = policy.model.eval()
    rows = []
    for ids in probes:
        with torch.inference_mode():
            found = model(torch.tensor([list(ids)], device=model.device), logits_to_keep=MAX_POSITIONS).logits[0]
        rows.append(found.float().cpu())
    logits_NV = torch.cat(rows)
    return logits_NV - logits_NV.mean(dim=1, keepdim=True)


def relative_error(exported_NV: "torch.Tensor", tuned_NV: "torch.Tensor") -> float:
    """Give the root mean square of the difference over that of the logits."""
    difference = (exported_NV - tuned_NV).double().norm()
    return float(difference / tuned_NV.double().norm())


def effect_kept(exported_NV: "torch.Tensor", reference: Reference) -> float:
    """Give the share of what training changed that the export has: <e - b, t - b> / |t - b|^2.

    1 where it is all there, 0 where the export is the base; errors in any other direction leave it alone.
    """
    changed_NV = (reference.tuned_NV - reference.base_NV).double()
    return float(((exported_NV - reference.base_NV).double() * changed_NV).sum() / changed_NV.square().sum())


def tolerance_of(*dtypes: str) -> float:
    """Give the relative error that the coarsest of these number formats explains."""
    return max(LEAST_TOLERANCE, ROUNDINGS_ALLOWED * max(ROUNDING[name] for name in dtypes))


def compare_logits(exported_NV: "torch.Tensor", reference: Reference, stored_dtype: str) -> dict[str, object]:
    """Give the figures of the comparison with the run's own logits.

    Raises:
        ExportError: the logits are not finite, too far off, or have lost what training changed.
    """
    import torch

    tuned_NV = reference.tuned_NV
    if exported_NV.shape != tuned_NV.shape:
        raise ExportError(
            f"the export gives logits of shape {tuple(exported_NV.shape)} where the run's policy gives "
            f"{tuple(tuned_NV.shape)}: it has another vocabulary. Was the tokenizer of the run replaced?"
        )
    if not bool(torch.isfinite(exported_NV).all()):
        raise ExportError(
            f"the export gives logits that are not finite: a weight does not fit into {stored_dtype}. Export with "
            "--dtype float32 or bfloat16."
        )
    error, tolerance = relative_error(exported_NV, tuned_NV), tolerance_of(stored_dtype, reference.dtype)
    kept = effect_kept(exported_NV, reference)
    if kept < LEAST_EFFECT_KEPT:
        raise ExportError(
            f"the adapter has no effect in the export: of what training changed in the logits {kept:.1%} is there "
            f"(expected at least {LEAST_EFFECT_KEPT:.0%}). "
            + (
                f"Rounding to {stored_dtype} may take it away: export with --dtype float32."
                if stored_dtype != "float32"
                else "The weights were not merged."
            )
        )
    if error > tolerance:
        raise ExportError(
            f"the export is not what was trained: its logits differ by {error:.2g} of their size, and storing in "
            f"{stored_dtype} explains {tolerance:.2g} at most. Please report this with the model's name."
        )
    return {
        "positions": len(tuned_NV),
        "relative_error": _short(error),
        "tolerance": _short(tolerance),
        "max_difference": _short(float((exported_NV - tuned_NV).abs().max())),
        "same_first_choice": _short(float((exported_NV.argmax(1) == tuned_NV.argmax(1)).double().mean())),
        "effect_of_training": _short(relative_error(reference.base_NV, tuned_NV)),
        "effect_kept": _short(kept),
        "arithmetic": reference.dtype,
    }


def compare_scores(policy: "Policy", reference: Reference, write_prompt: WritePrompt) -> dict[str, object]:
    """Decode the run's problems greedily with the export, and give its score beside that of the run's policy.

    Raises:
        ExportError: fewer are right, beyond the paired 95 % interval.
    """
    asked, ours = reference.asked, reference.greedy
    theirs = _answer(policy, reference.recipe, asked.problems, write_prompt)
    change = difference_with_interval(differences(ours, theirs))
    if change.high < 0:
        raise ExportError(
            f"the export solves {theirs.share_correct().value:.1%} of {len(asked.problems)} problems where the run's "
            f"policy solves {ours.share_correct().value:.1%} (paired 95 % interval of the difference "
            f"{100 * change.low:+.1f} to {100 * change.high:+.1f} points), so it is not what was trained."
        )
    pairs = list(zip(ours.all_judged, theirs.all_judged, strict=True))
    return {
        "n": len(asked.problems),
        "are_held_out": asked.are_held_out,
        "run": shown(ours.share_correct()),
        "export": shown(theirs.share_correct()),
        "change": shown(change),
        "won": sum(_is_right(two) and not _is_right(one) for one, two in pairs),
        "lost": sum(_is_right(one) and not _is_right(two) for one, two in pairs),
        "same_text": sum(one.completion.text == two.completion.text for one, two in pairs),
    }


def _is_right(one: Judged) -> bool:
    return one.verdict.outcome is Outcome.CORRECT


def _answer(policy: "Policy", recipe: Recipe, problems: Sequence[Problem], write_prompt: WritePrompt) -> Evaluation:
    from razona.rollout import Sampling

    return evaluate(
        policy,
        problems,
        write_prompt,
        judge_of(recipe),
        samples=1,
        sampling=Sampling(max_tokens=recipe.rollout.max_completion_tokens, temperature=0.0),
        batch_size=recipe.evaluate.batch_size,
        seed=PROBLEM_SEED,
    )


def _short(value: float) -> float:
    return float(f"{value:.4g}")
