"""Data sets that models are compared on, by short name: from a local copy, or from the hub."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from razona.core.errors import DataError
from razona.core.functions import is_function_name
from razona.core.nouns import Problem
from razona.data.source import TASKS, UNASKED, is_file_source, load_problems, read_problems
from razona.recipe import DataSection

QUESTIONS = ["question", "problem", "quiz", "prompt"]
TARGETS = ["answer", "code", "canonical_solution", "solution"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One data set and how its rows are judged."""

    description: str
    hub: str
    config: str | None
    split: str
    file: str
    """Name of a local copy, in the folder that the person names."""
    kind: Literal["math", "code", "logic"]


BENCHMARKS: Mapping[str, Benchmark] = {
    "gsm8k": Benchmark(
        description="grade-school word problems, 1,319",
        hub="openai/gsm8k",
        config="main",
        split="test",
        file="gsm8k_test.jsonl",
        kind="math",
    ),
    "math500": Benchmark(
        description="competition mathematics, 500 of the MATH test set",
        hub="HuggingFaceH4/MATH-500",
        config=None,
        split="test",
        file="math500.jsonl",
        kind="math",
    ),
    "aime24": Benchmark(
        description="AIME 2024, 30",
        hub="HuggingFaceH4/aime_2024",
        config=None,
        split="train",
        file="aime24.jsonl",
        kind="math",
    ),
    "amc23": Benchmark(
        description="AMC 2023, 40",
        hub="math-ai/amc23",
        config=None,
        split="test",
        file="amc23.jsonl",
        kind="math",
    ),
    "mbpp": Benchmark(
        description="short Python functions with tests, the sanitized part",
        hub="google-research-datasets/mbpp",
        config="sanitized",
        split="test",
        file="code_mbpp_sanitized.jsonl",
        kind="code",
    ),
    "humaneval": Benchmark(
        description="Python functions to complete, 164",
        hub="openai/openai_humaneval",
        config=None,
        split="test",
        file="code_humaneval.jsonl",
        kind="code",
    ),
    "knights-knaves": Benchmark(
        description="who tells the truth? From the hub, 100 puzzles of 5 people; a local copy may hold others",
        hub="K-and-K/knights-and-knaves",
        config="test",
        split="5ppl",
        file="knights_knaves.jsonl",
        kind="logic",
    ),
}
"""Short name -> data set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which problems to measure on."""

    data: str
    """A short name of `BENCHMARKS`, a .jsonl, .csv or .parquet file, or the name of a hub data set."""
    folder: Path | None = None
    """With local copies of the benchmarks; None: they come from the hub."""
    section: DataSection = field(default_factory=DataSection)
    """Columns, split and configuration for a file or hub data set that is no benchmark."""
    kind: Literal["math", "code", "logic"] = "math"
    """How the rows of such a file are judged."""
    num_problems: int | None = None
    """A part of them, always the same; None: all."""
    split: str | None = None
    """Of a hub data set that is no benchmark; None: that of `section`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Problems, and how completions of them are judged."""

    problems: list[Problem]
    kind: Literal["math", "code", "logic"]
    source: str
    """Where they came from, for the reader of the figures."""


def load_benchmark(asked: Asked) -> Loaded:
    """Load problems to measure on, in an order of their own that is always the same.

    Raises:
        DataError: there is no such data set or file, or its rows are not problems.
    """
    section, kind = find_section(asked)
    if asked.num_problems is not None:
        section = section.model_copy(update={"max_problems": asked.num_problems})
    problems = load_problems(section, count=asked.num_problems or UNASKED, seed=0, split="evaluation")
    return Loaded(problems=problems, kind=kind, source=section.source)


def read_in_order(asked: Asked) -> Loaded:
    """Load all problems in the order of their file.

    Raises:
        DataError: as `load_benchmark`.
    """
    section, kind = find_section(asked)
    return Loaded(problems=read_problems(section), kind=kind, source=section.source)


def find_section(asked: Asked) -> tuple[DataSection, Literal["math", "code", "logic"]]:
    """Give where the problems are and in which columns, and how they are judged.

    Raises:
        DataError: there is no data set of that name.
    """
    found = BENCHMARKS.get(asked.data)
    if found is None:
        _refuse_typing_error(asked.data)
        if asked.folder is not None:
            raise DataError(
                f"--data-folder {asked.folder} holds local copies of {', '.join(BENCHMARKS)}; "
                f"--data {asked.data} is none of them. Leave it out."
            )
        split = asked.split or asked.section.split
        return asked.section.model_copy(update={"source": asked.data, "split": split, "max_problems": None}), asked.kind
    own = {"question_column": QUESTIONS, "target_column": TARGETS, "config": found.config, "split": found.split}
    return DataSection.model_validate(own | {"source": _place_of(found, asked.folder)}), found.kind


def _place_of(benchmark: Benchmark, folder: Path | None) -> str:
    if folder is None:
        return benchmark.hub
    path = folder / benchmark.file
    if not path.is_file():
        raise DataError(
            f"the folder of local copies, {folder}, holds no {benchmark.file}. Put the rows of {benchmark.hub} there "
            "under that name, or name no folder (--data-folder, data.folder) to load them from the hub."
        )
    return str(path)


def _refuse_typing_error(name: str) -> None:
    """Refuse what is neither a file, nor a hub name (`owner/name`), nor a short name."""
    if name == TASKS or "/" in name or is_file_source(name) or is_function_name(name):
        return
    near = get_close_matches(name, BENCHMARKS, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise DataError(
        f"--data {name}: there is no data set of that name.{hint} Give `{TASKS}`, one of {', '.join(BENCHMARKS)}, a "
        ".jsonl, .csv or .parquet file, a hub name (owner/name), or a function that yields problems (module:function)."
    )
