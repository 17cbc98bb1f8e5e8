"""maj@k: the answer that most samples of a problem agree on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from razona.core.nouns import Outcome
from razona.verify import Settings, check

if TYPE_CHECKING:
    from razona.evaluate.evaluation import Judged

ANSWER = Settings(is_unmarked_allowed=True)


def majority_share(judged_K: Sequence["Judged"]) -> float:
    """Give the chance that the vote of a problem's samples is right: 1 or 0, or between where votes are tied.

    Samples vote for what their answers mean: right ones are one party, wrong ones that the verifier holds equal
    another. A sample without an answer does not vote; where none has one the vote is wrong. Ties are drawn.

    Source: Wang et al. 2022, "Self-Consistency", arXiv:2203.11171.
    """
    parties: list[tuple[str, int]] = []
    """Of wrong answers: what its first member wrote, and its size."""
    num_right = 0
    for one in judged_K:
        if one.verdict.outcome is Outcome.CORRECT:
            num_right += 1
        elif one.verdict.answer is not None:
            _join(parties, one.verdict.answer.strip())
    most = max([num_right, *(size for _, size in parties)])
    if most == 0 or num_right < most:
        return 0.0
    return 1 / (1 + sum(size == most for _, size in parties))


def _join(parties: list[tuple[str, int]], answer: str) -> None:
    for place, (first, size) in enumerate(parties):
        if answer == first or check(answer, first, ANSWER).outcome is Outcome.CORRECT:
            parties[place] = (first, size + 1)
            return
    parties.append((answer, 1))
