"""Which questions are alike: the same, nearly the same, or one within the other."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b, sha256

from razona.core.nouns import Problem

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
_WORD = re.compile(r"\w+|[^\w\s]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def same_question(problem: Problem) -> str:
    """Give what is equal for questions that differ in case and white space alone."""
    return " ".join(_words(problem.question))


def numbers(text: str) -> list[str]:
    """Give the numbers of a text in order of their digits."""
    return sorted(_NUMBER.findall(text))


def near_pairs(problems: Sequence[Problem]) -> Iterator[tuple[Problem, Problem]]:
    """Give (earlier, later) pairs of nearly the same words; candidates come from MinHash and are then compared."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=CANDIDATE, num_perm=PERMUTATIONS)
    shingles: dict[str, frozenset[bytes]] = {}
    of_id: dict[str, Problem] = {}
    for problem in problems:
        own = frozenset(_shingles(_words(problem.question), SHINGLE_WORDS))
        sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
        sketch.update_batch(list(own))
        for candidate in sorted(map(str, index.query(sketch))):
            if _similarity(shingles[candidate], own) >= NEAR:
                yield of_id[candidate], problem
        index.insert(problem.id, sketch)
        shingles[problem.id], of_id[problem.id] = own, problem


def overlapping(problems: Sequence[Problem], held_out: Sequence[Problem]) -> Iterator[tuple[Problem, str]]:
    """Give each problem that holds half of an evaluation question, in runs of 8 words, with that one's id."""
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
    for problem in problems:
        words = _words(problem.question)
        runs = {_hash(run) for length in lengths if len(words) >= length for run in _shingles(words, length)}
        shared = Counter(holder for run in runs for holder in holders.get(run, ()))
        hit = next((holder for holder, count in shared.items() if count >= OVERLAP_SHARE * sizes[holder]), None)
        if hit is not None:
            yield problem, hit


def digest(problems: Sequence[Problem]) -> str:
    """Give the sha256 of ids, questions and targets, in order of id: it does not depend on how they were shuffled."""
    state = sha256()
    for problem in sorted(problems, key=lambda one: one.id):
        state.update("\x1f".join((problem.id, problem.question, problem.target, "")).encode("utf-8", "surrogatepass"))
    return state.hexdigest()


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _shingles(words: Sequence[str], size: int) -> Iterator[bytes]:
    """Give every run of `size` words, or the whole text where it is shorter."""
    for start in range(max(1, len(words) - size + 1)):
        yield " ".join(words[start : start + size]).encode("utf-8", "surrogatepass")


def _similarity(one: frozenset[bytes], two: frozenset[bytes]) -> float:
    return len(one & two) / len(one | two)


def _hash(run: bytes) -> bytes:
    return blake2b(run, digest_size=8).digest()
