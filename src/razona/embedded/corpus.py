"""The pretraining corpus: documents addressed by number, so that any part of it can be made again on its own."""

from collections.abc import Iterator, Mapping
from random import Random

from razona.core.seeds import derive_rng
from razona.embedded import facts, layouts
from razona.recipe import PromptSection
from razona.tasks import FAMILIES, draw

KINDS: Mapping[str, float] = {
    "tagged_worked": 0.045,
    "tagged_blurted": 0.19,
    "untagged_worked": 0.30,
    "untagged_blurted": 0.125,
    "table": 0.26,
    "plain": 0.08,
}
"""Kind of document -> its share. `tagged_worked` is held under 5 %: the form that training will ask for is rare."""
KINDS_OF_SECOND_ROUND: Mapping[str, float] = {
    "tagged_worked": 0.045,
    "tagged_blurted": 0.205,
    "untagged_worked": 0.43,
    "untagged_blurted": 0.08,
    "table": 0.19,
    "plain": 0.05,
}
"""The same for the second round of pretraining: fewer tables, more worked solutions."""
SECOND_ROUND = 1_000_000
"""Number of the first document of the second round."""
FAMILY_SHARES: Mapping[str, float] = dict.fromkeys(FAMILIES, 1.0) | {
    "logic": 2.0,
    "remainders": 2.0,
    "ordering": 1.5,
}
"""Family -> weight: those that a model of this size finds hard are written about more."""
LEVEL_SHARES: Mapping[int, float] = {1: 0.45, 2: 0.40, 3: 0.15}
PROMPT = PromptSection()


def choose(rng: Random, shares: Mapping) -> object:
    """Choose a key with the probability that is its value."""
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def prompt_text(question: str) -> str:
    """Write the prompt of the default recipe as the tokenizer's chat template renders it, the opening tag included."""
    return f"{PROMPT.system_text()}\n{question}\n{PROMPT.working_open}"


def document(seed: int, index: int) -> tuple[str, str]:
    """Give document number `index` of the corpus as (kind, text), without its end-of-text mark."""
    rng = derive_rng("corpus", seed, index)
    kind = str(choose(rng, KINDS if index < SECOND_ROUND else KINDS_OF_SECOND_ROUND))
    if kind == "table":
        return kind, facts.table(rng)
    level = choose(rng, LEVEL_SHARES)
    assert isinstance(level, int)
    problem = draw(str(choose(rng, FAMILY_SHARES)), level, "corpus", seed, index)
    if kind == "plain":
        return kind, facts.plain_text(rng, problem)
    if kind == "untagged_worked":
        return kind, layouts.untagged_worked(rng, problem)
    if kind == "untagged_blurted":
        return kind, layouts.untagged_blurted(rng, problem)
    prefix = prompt_text(problem.question)
    if kind == "tagged_worked":
        return kind, layouts.tagged_worked(rng, problem, PROMPT, prefix)
    return kind, layouts.tagged_blurted(rng, problem, PROMPT, prefix)


def documents(seed: int, start: int, count: int) -> Iterator[str]:
    """Yield the texts of `count` documents from number `start` on."""
    for index in range(start, start + count):
        yield document(seed, index)[1]


def count_kinds(seed: int, count: int) -> dict[str, float]:
    """Give each kind's share of `count` documents, half of them from each round, as they came out."""
    counts = dict.fromkeys(KINDS, 0)
    for start in (0, SECOND_ROUND):
        for index in range(start, start + count // 2):
            counts[document(seed, index)[0]] += 1
    return {kind: number / count for kind, number in counts.items()}
