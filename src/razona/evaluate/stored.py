"""An evaluation in a folder of its own: every completion stored as it is judged, and gone on with after a crash."""

# A list of completions to sample is cut into chunks: problems of similar prompt length, with all their samples. A
# chunk is sampled from a seed of its own and written at once, so what is there after a crash is whole chunks, and a
# chunk sampled later is the one that would have been sampled then.

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from razona.core.environment import describe_environment
from razona.core.errors import DataError, RunFolderError
from razona.core.files import read_jsonl, to_json, write_json, write_jsonl
from razona.core.nouns import Problem
from razona.core.rundir import RunDir
from razona.core.seeds import derive_seed
from razona.evaluate.evaluation import Judged, Sides, row_of, sides_of_rows
from razona.evaluate.measure import measure
from razona.evaluate.prompts import WritePrompt
from razona.evaluate.sampling import JudgeCompletions

if TYPE_CHECKING:
    from razona.models.load import Policy

VOTED = "math"
"""The kind whose answers vote: two programs, or two spellings of a puzzle's solution, may mean the same."""
BATCHES_PER_CHUNK = 4
"""Engine batches of a chunk: fewer lose less to a crash, more leave fewer slots empty at the end of a chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationDir:
    """The folder of one evaluation and the places in it."""

    root: Path

    @property
    def settings(self) -> Path:
        """What was asked for. The same must be asked to go on."""
        return self.root / "settings.json"

    @property
    def completions(self) -> Path:
        """Every completion with its verdict, a chunk after the other."""
        return self.root / "completions.jsonl"

    @property
    def figures(self) -> Path:
        """Metrics with intervals; there once the evaluation is finished."""
        return self.root / "evaluation.json"

    @property
    def environment(self) -> Path:
        """Versions, hardware, git commit, command, seeds."""
        return self.root / "environment.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to measure a policy on, and how."""

    model: str
    data: str
    """Where the problems came from, for the reader."""
    kind: str
    """Of the problems: math, code or logic."""
    prompt: str
    """Name of the way to ask."""
    samples: int
    temperature: float
    is_greedy_too: bool
    """Each problem is also decoded once greedily."""
    max_tokens: int
    batch_size: int
    """Completions sampled at a time."""
    seed: int
    form: Mapping[str, object]
    """What else decides the completions and verdicts: the prompt's form and the verifier's leniency."""
    source: Mapping[str, object]
    """How the model is loaded, and what tells its weights from others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """Problems that are sampled in one call."""

    number: int
    temperature: float
    samples: int
    problems: tuple[Problem, ...]

    @property
    def size(self) -> int:
        return self.samples * len(self.problems)


def evaluate_in(
    folder: Path,
    policy: Callable[[], "Policy"],
    problems: Sequence[Problem],
    write_prompt: Callable[["Policy"], WritePrompt],
    judge: JudgeCompletions,
    request: Request,
    on_batch: Callable[[int], None] = lambda done: None,
) -> dict[str, object]:
    """Evaluate a policy in a folder, or go on where an interrupted evaluation stopped; finished, it is only read.

    Args:
        policy: loads it; not called where nothing is left to sample.
        write_prompt: gives the writer of its prompts.
        on_batch: told how many more completions are there, those of before at once.

    Returns:
        What `evaluation.json` holds.

    Raises:
        DataError: there is no problem.
        RunFolderError: the folder holds an evaluation of other settings, or is in use.
    """
    if not problems:
        raise DataError(f"{request.data} holds no problem; expected at least one")
    place = EvaluationDir(root=folder)
    with RunDir(folder).lock():
        settings = _take_folder(place, request, problems)
        chunks = list(_chunks(problems, request))
        num_done = _recover(place, chunks)
        on_batch(sum(chunk.size for chunk in chunks[:num_done]))
        started = time.monotonic()
        sampled = sum(chunk.size for chunk in chunks[num_done:])
        if sampled:
            loaded = policy()
            writer = write_prompt(loaded)
            for chunk in chunks[num_done:]:
                _append(place.completions, _sample_chunk(loaded, chunk, writer, judge, request, on_batch))
        if sampled or not place.figures.exists():
            _write_figures(place, settings, sampled, time.monotonic() - started)
    return json.loads(place.figures.read_text(encoding="utf-8"))


def read_sides(folder: Path) -> Sides:
    """Read a finished evaluation.

    Raises:
        DataError: the folder holds no evaluation, or one that is not finished.
    """
    place = EvaluationDir(root=folder)
    if not place.figures.exists():
        state = "is not finished: start the same command again" if place.completions.exists() else "holds none"
        raise DataError(f"{folder}: expected a finished evaluation, and this folder {state}")
    return sides_of_rows(read_jsonl(place.completions), str(place.completions))


def _settings(request: Request, problems: Sequence[Problem]) -> dict[str, object]:
    told = [[one.id, one.question, one.target, one.steps, dict(one.extra)] for one in problems]
    digest = sha256(json.dumps(told, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")).hexdigest()
    return {**asdict(request), "problems": len(problems), "problems_sha256": digest}


def _take_folder(place: EvaluationDir, request: Request, problems: Sequence[Problem]) -> dict[str, object]:
    """Describe the evaluation in a new folder, or see that the folder's is this one; gives its settings."""
    wanted = json.loads(json.dumps(_settings(request, problems)))  # as it is read back
    if place.settings.exists():
        found = json.loads(place.settings.read_text(encoding="utf-8"))
        other = [
            f"{key} {found.get(key)!r} and not {value!r}" for key, value in wanted.items() if found.get(key) != value
        ]
        if other:
            raise RunFolderError(
                f"--out {place.root} holds an evaluation with other settings: {'; '.join(other)}. Ask for the same to "
                "go on with it, or give another folder."
            )
        return wanted
    if place.completions.exists() or (place.root / "metrics.jsonl").exists():
        raise RunFolderError(f"--out {place.root} holds something else than an evaluation. Give another folder.")
    write_json(place.environment, describe_environment({"evaluation": request.seed}))
    write_json(place.settings, wanted)
    return wanted


def _chunks(problems: Sequence[Problem], request: Request) -> Iterator[_Chunk]:
    ordered = sorted(problems, key=lambda problem: len(problem.question))
    number = 0
    passes = [(request.temperature, request.samples)] + [(0.0, 1)] * request.is_greedy_too
    for temperature, samples in passes:
        step = max(1, BATCHES_PER_CHUNK * request.batch_size // samples)
        for start in range(0, len(ordered), step):
            part = tuple(ordered[start : start + step])
            yield _Chunk(number=number, temperature=temperature, samples=samples, problems=part)
            number += 1


def _recover(place: EvaluationDir, chunks: Sequence[_Chunk]) -> int:
    """Cut the stored completions to whole chunks, and give how many these are."""
    if not place.completions.exists():
        return 0
    *lines, rest = place.completions.read_bytes().split(b"\n")  # what follows the last line end was cut short
    done, start = 0, 0
    for chunk in chunks:
        if start + chunk.size > len(lines):
            break
        done, start = done + 1, start + chunk.size
    if start < len(lines) or rest:
        write_jsonl(place.completions, [json.loads(line) for line in lines[:start]])
    return done


def _sample_chunk(
    policy: "Policy",
    chunk: _Chunk,
    write_prompt: WritePrompt,
    judge: JudgeCompletions,
    request: Request,
    on_batch: Callable[[int], None],
) -> list[dict[str, object]]:
    from razona.rollout import Sampling, sample

    completions = sample(
        policy.model,
        policy.tokenizer,
        [(problem.id, write_prompt(problem)) for problem in chunk.problems],
        samples=chunk.samples,
        sampling=Sampling(max_tokens=request.max_tokens, temperature=chunk.temperature),
        batch_size=request.batch_size,
        seed=derive_seed("evaluation", request.seed, chunk.number),
        on_batch=on_batch,
    )
    owners = [problem for problem in chunk.problems for _ in range(chunk.samples)]
    judged: list[Judged] = judge([one for row in completions for one in row], owners)
    return [
        row_of(problem, place % chunk.samples, one, chunk.temperature)
        for place, (problem, one) in enumerate(zip(owners, judged, strict=True))
    ]


def _append(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """Add rows in one write that is on the disk when this returns."""
    text = "".join(to_json(row) + "\n" for row in rows)
    with path.open("ab") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def _write_figures(place: EvaluationDir, settings: Mapping[str, object], sampled: int, seconds: float) -> None:
    sides = sides_of_rows(read_jsonl(place.completions), str(place.completions))
    figures = {
        **settings,
        **measure(sides.sampled, sides.greedy, is_voted=settings["kind"] == VOTED),
        "seconds": round(seconds, 1),
        "completions_per_second": round(sampled / seconds, 1) if sampled and seconds else None,
        "sampled_in_last_session": sampled,
    }
    write_json(place.figures, figures)
