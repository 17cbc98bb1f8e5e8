"""What a data set holds before anything is trained on it: duplicates, contradictions, overlap, unreadable targets."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import blake2b, sha256

from razona.core.nouns import Outcome, Problem
from razona.verify import Settings, check

SHINGLE_WORDS = 3
"""Words of a shingle, the unit in which near duplicates are compared."""
NEAR = 0.8
"""Jaccard similarity of two shingle sets from which on two questions are near duplicates (datasketch's usual limit)."""
CANDIDATE, PERMUTATIONS = 0.6, 128
"""Similarity from which on MinHash names a pair, and hashes of a sketch. Pairs are then compared exactly, so a lower
limit costs time alone, and misses fewer."""
OVERLAP_WORDS, OVERLAP_SHARE = 8, 0.5
"""Of an evaluation question's runs of 8 words, the share that stands in a training question which overlaps with it
(Tuelu 3, arXiv:2411.15124, section 3.2, matches 8-grams and takes half of the test instance). One shared run alone says
little: "where m and n are relatively prime positive integers" is in 700 problems."""
MAX_NAMED = 5
"""Examples that a report names of each finding."""
_WORD = re.compile(r"\w+|[^\w\s]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One kind of thing that was found, how often, and some of them."""

    count: int
    examples: tuple[str, ...] = ()
    """Ids, or pairs of ids, with a reason where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was found in a data set."""

    source: str
    problems: int
    sha256: str
    """Of ids, questions and targets in the file's order."""
    question_characters: Mapping[str, int]
    """Quantiles."""
    duplicates: Finding
    """Problems whose question, but for case and white space, stood there before."""
    contradictions: Finding
    """Of these, the ones with another target than the first: at most one of them can be right."""
    near_duplicates: Finding
    """Problems with nearly the words and exactly the numbers of an earlier one."""
    other_numbers: Finding
    """Problems with nearly the words of an earlier one, and other numbers: variants, not duplicates."""
    unverifiable: Finding | None
    """Problems whose own target is not judged right: training on them pays no completion. None for code and logic,
    whose targets are no answers."""
    overlaps: Mapping[str, Finding]
    """Evaluation set -> problems that hold half of one of its questions, in runs of 8 words."""

    def as_row(self) -> dict[str, object]:
        """Give it as JSON prints it."""
        return asdict(self)


def inspect_problems(
    problems: Sequence[Problem],
    source: str,
    against: Mapping[str, Sequence[Problem]] | None = None,
    *,
    is_math: bool = True,
) -> Inspection:
    """Look through a data set.

    Args:
        against: name -> evaluation problems that must not be among them.
        is_math: their targets are answers, which can be judged against themselves.
    """
    repeats = list(find_repeats(problems))
    near = list(_near_pairs(problems, without={two.id for _, two in repeats}))
    same = [(one, two) for one, two in near if _numbers(one.question) == _numbers(two.question)]
    other = [(one, two) for one, two in near if _numbers(one.question) != _numbers(two.question)]
    contradicting = [(one, two) for one, two in repeats if not have_same_target(one, two)]
    return Inspection(
        source=source,
        problems=len(problems),
        sha256=_digest(problems),
        question_characters=_quantiles([len(problem.question) for problem in problems]),
        duplicates=_pairs(repeats),
        contradictions=_pairs(contradicting),
        near_duplicates=_pairs(same),
        other_numbers=_pairs(other),
        unverifiable=_unverifiable(problems) if is_math else None,
        overlaps={name: find_overlap(problems, held_out) for name, held_out in (against or {}).items()},
    )


def _pairs(pairs: Sequence[tuple[Problem, Problem]]) -> Finding:
    """Count second members: a problem is a duplicate once, however many came before it."""
    seconds = {two.id: one for one, two in reversed(pairs)}
    named = [f"{one.id} = {two}" for two, one in list(reversed(seconds.items()))[:MAX_NAMED]]
    return Finding(count=len(seconds), examples=tuple(named))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _numbers(text: str) -> list[str]:
    return sorted(_NUMBER.findall(text))


def find_repeats(problems: Sequence[Problem]) -> Iterator[tuple[Problem, Problem]]:
    """Give (first, later) for each problem that asks what an earlier one asked."""
    first: dict[str, Problem] = {}
    for problem in problems:
        before = first.setdefault(" ".join(_words(problem.question)), problem)
        if before is not problem:
            yield before, problem


def have_same_target(one: Problem, two: Problem) -> bool:
    """Say whether two problems have the same target, in the same words or by the verifier."""
    return one.target == two.target or _verdict(one.target, two.target)[0] is Outcome.CORRECT


def _near_pairs(problems: Sequence[Problem], without: set[str]) -> Iterator[tuple[Problem, Problem]]:
    """Give (earlier, later) pairs of nearly the same words; candidates come from MinHash and are then compared."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=CANDIDATE, num_perm=PERMUTATIONS)
    shingles: dict[str, frozenset[bytes]] = {}
    of_id: dict[str, Problem] = {}
    for problem in problems:
        if problem.id in without:
            continue
        own = frozenset(_shingles(_words(problem.question), SHINGLE_WORDS))
        sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
        sketch.update_batch(list(own))
        for candidate in sorted(map(str, index.query(sketch))):
            if _similarity(shingles[candidate], own) >= NEAR:
                yield of_id[candidate], problem
        index.insert(problem.id, sketch)
        shingles[problem.id], of_id[problem.id] = own, problem


def _shingles(words: Sequence[str], size: int) -> Iterator[bytes]:
    """Give every run of `size` words, or the whole text where it is shorter."""
    for start in range(max(1, len(words) - size + 1)):
        yield " ".join(words[start : start + size]).encode("utf-8", "surrogatepass")


def _similarity(one: frozenset[bytes], two: frozenset[bytes]) -> float:
    return len(one & two) / len(one | two)


def _unverifiable(problems: Sequence[Problem]) -> Finding:
    found = [f"{problem.id}: {reason}" for problem in problems if (reason := _unread_reason(problem))]
    return Finding(count=len(found), examples=tuple(found[:MAX_NAMED]))


def _unread_reason(problem: Problem) -> str:
    """Give why a problem's own target is not judged right; "" where it is."""
    outcome, reason = _verdict(problem.target, problem.target)
    return "" if outcome is Outcome.CORRECT else f"{outcome}: {reason or 'its own target is not judged right'}"


@lru_cache(maxsize=100_000)
def _verdict(answer: str, target: str) -> tuple[Outcome, str]:
    found = check(f"<SOLUTION>{answer}</SOLUTION>", target, Settings())
    return found.outcome, found.reason


def find_overlap(problems: Sequence[Problem], held_out: Sequence[Problem]) -> Finding:
    """Count the problems that hold half of a held-out question, in runs of 8 words."""
    holders: dict[bytes, list[str]] = defaultdict(list)
    sizes: dict[str, int] = {}
    lengths: set[int] = set()
    for problem in held_out:
        words = _words(problem.question)
        length = min(OVERLAP_WORDS, len(words))
        runs = {_hash(run) for run in _shingles(words, length)}
        lengths.add(length)
        sizes[problem.id] = len(runs)
        for run in runs:
            holders[run].append(problem.id)
    found = []
    for problem in problems:
        words = _words(problem.question)
        runs = {_hash(run) for length in lengths if len(words) >= length for run in _shingles(words, length)}
        shared = Counter(holder for run in runs for holder in holders.get(run, ()))
        hit = next((holder for holder, count in shared.items() if count >= OVERLAP_SHARE * sizes[holder]), None)
        if hit is not None:
            found.append(f"{problem.id} = {hit}")
    return Finding(count=len(found), examples=tuple(found[:MAX_NAMED]))


def _hash(run: bytes) -> bytes:
    return blake2b(run, digest_size=8).digest()


def _quantiles(values: Sequence[int]) -> dict[str, int]:
    ordered = sorted(values)
    places = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in places.items()}


def _digest(problems: Sequence[Problem]) -> str:
    state = sha256()
    for problem in problems:
        state.update("\x1f".join((problem.id, problem.question, problem.target, "")).encode("utf-8", "surrogatepass"))
    return state.hexdigest()
