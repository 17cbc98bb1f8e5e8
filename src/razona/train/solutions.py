"""What supervised fine-tuning learns from: given worked solutions, or the model's own that the verifier accepted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from razona.core.errors import DataError, NothingToLearnError
from razona.core.nouns import Outcome, Problem
from razona.core.seeds import derive_rng, derive_seed
from razona.data import PromptWriter, tags_of
from razona.evaluate.evaluation import Judged
from razona.evaluate.prompts import NUM_EXAMPLES, Asking, prompt_writer, working_of
from razona.evaluate.sampling import evaluate, judge_of
from razona.models.load import Policy
from razona.recipe import Recipe
from razona.rollout import Sampling
from razona.verify import Tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Solutions, and what it took to find them."""

    solutions: list["Solution"]
    sampled_tokens: int = 0
    """Sampled, and read as prompts, in search of own solutions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A prompt and what should follow it."""

    problem_id: str
    prompt: str
    """The recipe's own, whatever prompt the solution was found under."""
    text: str
    """Working and solution in the recipe's form; the end-of-text token follows it."""
    origin: str
    """`given`, `own`, or `own, form mended`: right, but not in the form asked for."""

    def as_row(self) -> dict[str, str]:
        """Give it as it is stored."""
        return asdict(self)


def written(tags: Tags, working: str, answer: str) -> str:
    """Give working and answer in the recipe's form, after a prompt that has opened the working.

    >>> tags = Tags(working_open="<w>", working_close="</w>", solution_open="<s>", solution_close="</s>")
    >>> written(tags, "2 + 2 = 4.", "4")
    ' 2 + 2 = 4. </w><s>4</s>'
    """
    told = f" {working.strip()} " if working.strip() else ""
    return f"{told}{tags.working_close}{tags.solution_open}{answer}{tags.solution_close}"


def given_solutions(problems: Sequence[Problem], recipe: Recipe, writer: PromptWriter) -> Found:
    """Give the worked solutions that the problems come with, at most `sft.num_problems`.

    Raises:
        DataError: no problem has one.
    """
    tags = tags_of(recipe.prompt)
    worked = [problem for problem in problems if working_of(problem)][: recipe.sft.num_problems]
    if not worked:
        raise DataError(
            f"sft.source = given: none of the {len(problems)} problems of data.source = {recipe.data.source} has a "
            "worked solution; expected a column `solution` beside the target. Give the data one, or set "
            "sft.source: own."
        )
    solutions = [
        Solution(
            problem_id=problem.id,
            prompt=writer.write(problem),
            text=written(tags, working_of(problem), problem.target),
            origin="given",
        )
        for problem in worked
    ]
    return Found(solutions=solutions)


def own_solutions(problems: Sequence[Problem], recipe: Recipe, policy: Policy) -> Found:
    """Sample the policy and keep what the verifier accepts: its own working, in the recipe's form.

    Raises:
        NothingToLearnError: no completion is right.
    """
    section, train = recipe.sft, recipe.train
    chosen = list(problems[: section.num_problems])
    asking = Asking(tokenizer=policy.tokenizer, examples=list(problems[: NUM_EXAMPLES + 1]))
    ask = prompt_writer(section.prompt, recipe.prompt, asking)
    evaluation = evaluate(
        policy,
        chosen,
        ask,
        judge_of(recipe),
        samples=section.samples,
        sampling=Sampling(max_tokens=recipe.rollout.max_completion_tokens, temperature=recipe.rollout.temperature),
        batch_size=recipe.evaluate.batch_size,
        seed=derive_seed("own solutions", train.seed),
    )
    writer, tags = PromptWriter(section=recipe.prompt, tokenizer=policy.tokenizer), tags_of(recipe.prompt)
    found = [
        Solution(problem_id=problem.id, prompt=writer.write(problem), text=text, origin=origin)
        for problem, row in zip(chosen, evaluation.judged_PK, strict=True)
        for text, origin in best_of(row, tags, section.per_problem)
    ]
    if not found:
        raise NothingToLearnError(
            f"sft.source = own: none of {evaluation.num_samples * len(chosen)} completions under the prompt "
            f"{section.prompt!r} is right, so there is nothing to learn from. Try another sft.prompt (razona eval "
            "shows which suits the model best), more sft.samples, easier problems, or sft.source: given."
        )
    read = sum(writer.count_tokens([ask(problem) for problem in chosen]))
    sampled = sum(one.completion.num_tokens for one in evaluation.all_judged)
    return Found(solutions=found, sampled_tokens=read + sampled)


def best_of(judged: Sequence[Judged], tags: Tags, count: int) -> list[tuple[str, str]]:
    """Give (text, origin) of the right completions that are kept, each text once.

    Those that the token limit cut off are left out, in the form or not: what follows them is not the end of a text.
    """
    right = [one for one in judged if one.verdict.outcome is Outcome.CORRECT and not one.completion.is_truncated]
    right.sort(key=lambda one: (one.has_form, one.num_steps), reverse=True)
    texts: dict[str, str] = {}
    for one in right:
        if one.has_form:
            texts.setdefault(one.completion.text, "own")
        elif one.verdict.answer is not None:
            working = _working_before(one.completion.text, one.verdict.answer, tags)
            texts.setdefault(written(tags, working, one.verdict.answer), "own, form mended")
    return list(texts.items())[:count]


def _working_before(text: str, answer: str, tags: Tags) -> str:
    """Give the text up to the end of the line on which the answer stands first, without the four marks.

    What follows may be a problem that the model went on to invent.
    """
    for mark in (tags.working_open, tags.working_close, tags.solution_open, tags.solution_close):
        text = text.replace(mark, " ")
    lines = text.strip().splitlines()
    last = next((number for number, line in enumerate(lines) if answer in line.split() or answer in line), len(lines))
    return " ".join(" ".join(lines[: last + 1]).split())


def in_order(solutions: Sequence[Solution], epochs: int, seed: int) -> list[Solution]:
    """Give every solution once an epoch, in another order each time."""
    order: list[Solution] = []
    for epoch in range(epochs):
        part = list(solutions)
        derive_rng("sft order", seed, epoch).shuffle(part)
        order += part
    return order
