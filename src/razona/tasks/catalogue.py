"""The families, the splits, and how a problem is drawn from them."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

from razona.core.errors import RecipeError
from razona.core.nouns import Problem
from razona.core.seeds import derive_rng
from razona.tasks import (
    chain_arithmetic,
    conversion,
    linear_equations,
    logic,
    ordering,
    remainders,
    sequences,
    word_problems,
)
from razona.tasks.item import Family, Item

FAMILIES: dict[str, Family] = {
    module.FAMILY.name: module.FAMILY
    for module in (
        word_problems,
        chain_arithmetic,
        linear_equations,
        remainders,
        ordering,
        sequences,
        conversion,
        logic,
    )
}
LEVELS = (1, 2, 3)
SPLITS = {"corpus": range(0, 50), "train": range(50, 72), "evaluation": range(72, 88), "ood": range(88, 100)}
"""Split -> its percentiles of the hash of a problem's key. `corpus` is what the embedded base is pretrained on."""


def split_of(family: str, key: str) -> str:
    """Give the one split that a problem structure belongs to, whatever seed, level or wording it has."""
    digest = blake2b(f"{family}/{key}".encode(), digest_size=8).digest()
    percentile = int.from_bytes(digest, "big") % 100
    return next(name for name, percentiles in SPLITS.items() if percentile in percentiles)


def draw(family: str, level: int, split: str, seed: int, index: int) -> Problem:
    """Give problem number `index` of a family, level and split; the same arguments give the same problem.

    Raises:
        RecipeError: a family, level or split that does not exist.
    """
    _checked(split, [family], [level])
    rng = derive_rng("tasks", family, level, split, seed, index)
    while True:
        item = FAMILIES[family].generate(rng, level)
        if split_of(family, item.key) == split:
            return _to_problem(item, family, level)


def _to_problem(item: Item, family: str, level: int) -> Problem:
    digest = blake2b(f"{family}/{item.key}/{item.question}".encode(), digest_size=6).hexdigest()
    return Problem(
        id=f"{family}-{digest}",
        question=item.question,
        target=item.target,
        steps=item.steps,
        family=family,
        level=level,
        extra={"key": item.key},
    )


def problems(
    split: str, *, seed: int, families: Sequence[str] = (), levels: Sequence[int] = (1, 2)
) -> Iterator[Problem]:
    """Yield problems without end, families and levels in turn.

    Structures repeat once a small family is used up; take `distinct_problems` where none may.

    Raises:
        RecipeError: a family, level or split that does not exist.
    """
    names = _checked(split, families, levels)
    index = 0
    while True:
        for name in names:
            yield draw(name, levels[index % len(levels)], split, seed, index)
        index += 1


def distinct_problems(
    split: str,
    count: int,
    *,
    seed: int,
    at_least: int | None = None,
    families: Sequence[str] = (),
    levels: Sequence[int] = (1, 2),
    without: Iterable[Problem] = (),
) -> list[Problem]:
    """Give `count` problems of which no two share a structure, spread evenly over families and levels.

    Args:
        at_least: this many will do where there are not `count`; None: there must be.
        without: no problem shares a structure with one of these.

    Raises:
        RecipeError: the families asked for do not hold that many in this split.
    """
    needed = count if at_least is None else at_least
    taken = {(problem.family, problem.extra["key"]) for problem in without}
    found: dict[tuple[str, object], Problem] = {}
    for tried, problem in enumerate(problems(split, seed=seed, families=families, levels=levels)):
        if len(found) == count:
            break
        if tried > 20 * max(needed, len(found)) + 2000:
            if len(found) >= needed:
                break
            raise RecipeError(
                f"asked for {needed} different problems of the {split} split, found {len(found)} in {tried} draws "
                f"(families {list(families) or 'all'}, levels {list(levels)}). Ask for at most {len(found)}, "
                "or for more families or levels."
            )
        structure = (problem.family, problem.extra["key"])
        if structure not in taken:
            found.setdefault(structure, problem)
    return list(found.values())


def _checked(split: str, families: Sequence[str], levels: Sequence[int]) -> list[str]:
    if split not in SPLITS:
        raise RecipeError(f"there is no split {split!r}; the splits are {', '.join(SPLITS)}")
    unknown = [name for name in families if name not in FAMILIES]
    if unknown:
        raise RecipeError(f"data.families names {unknown}; the families are {', '.join(FAMILIES)}")
    if not levels or any(level not in LEVELS for level in levels):
        raise RecipeError(f"levels are {list(LEVELS)}, got {list(levels)}")
    return list(families) or list(FAMILIES)
