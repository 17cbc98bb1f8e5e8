"""`razona eval`: a model by name, on problems by name, in a folder of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import razona
from razona import tasks
from razona.core.errors import DataError, ModelError
from razona.core.nouns import Problem
from razona.core.rundir import RunDir
from razona.core.terminal import say
from razona.data import tags_of
from razona.data.benchmarks import Asked, Loaded, load_benchmark
from razona.data.source import TASKS
from razona.evaluate.held_out import generated_slice
from razona.evaluate.plan import PROBLEM_SEED
from razona.evaluate.prompts import NUM_EXAMPLES, TRAINING_PROMPT, Asking, other_prompts, prompt_writer
from razona.evaluate.sampling import Judge
from razona.evaluate.stored import Request, evaluate_in
from razona.recipe import ModelSection, Recipe, load

if TYPE_CHECKING:
    from razona.models.load import Policy

TASK_PROBLEMS = 512
"""Generated problems, where nobody says how many."""
TASK_TOKENS, OTHER_TOKENS = 96, 1024
"""Limits of a completion, where nobody says one: for our generators' short solutions, and for anything else."""
EMBEDDED = "embedded"
"""Name of the model that ships with Razona."""
HASHED_BYTES = 64 * 2**20
"""Weights up to this size are told apart by their content."""
SCREENING_PROBLEMS = 200
"""On which the best prompt of a base is sought, one sample each."""

Stage = Callable[[str, int], Callable[[int], None]]
"""(title, completions) -> what is told how many more are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to measure models on, and how."""

    asked: Asked
    recipe: Recipe
    """For the form of the prompt, the leniency of the verifier and, with `tasks`, families and levels."""
    prompt: str = TRAINING_PROMPT
    samples: int = 8
    temperature: float = 1.0
    is_greedy_too: bool = True
    max_tokens: int | None = None
    """None: 96 with `tasks`, else 1,024."""
    batch_size: int = 256
    seed: int = 0


def load_wanted(asked: Asked, recipe: Recipe) -> Loaded:
    """Load the problems: generated ones that training never sees and that chose no weights, or a data set's.

    Raises:
        DataError: there is no such data set, or its rows are not problems.
    """
    if asked.data != TASKS:
        loaded = load_benchmark(replace(asked, section=recipe.data, kind=recipe.rewards.kind))
        if asked.data == recipe.data.source and (asked.split or recipe.data.split) == recipe.data.split:
            note = f"razona: {asked.data} is what the recipe {recipe.name} trains on: nothing of it is held out."
            say(note, to_stderr=True)
        return loaded
    if asked.folder is not None:
        raise DataError(f"--data-folder {asked.folder}: --data {TASKS} makes its problems. Leave it out.")
    problems = tasks.distinct_problems(
        "evaluation",
        asked.num_problems or TASK_PROBLEMS,
        seed=PROBLEM_SEED,
        families=list(recipe.data.families),
        levels=list(recipe.data.levels),
        without=generated_slice(recipe) if recipe.guard.every and recipe.data.source == TASKS else (),
    )
    return Loaded(problems=problems, kind="math", source=TASKS)


def load_model(name: str, recipe: Recipe) -> "Policy":
    """Load a model by hub name or folder, the embedded one, an adapter's folder, or what a run has trained.

    Raises:
        ModelError: it cannot be loaded, or the folder is a run that has trained nothing yet.
    """
    from razona.models.load import adapter_base, load_policy, load_tuned

    run, section = RunDir(Path(name)), recipe.model
    if run.recipe.exists():
        if not run.adapter.exists():
            raise ModelError(
                f"{name} is the folder of a run that has not finished training: it holds no {run.adapter.name}. Go on "
                "with it (razona train ... --resume), or name one of its checkpoints."
            )
        return load_tuned(load(run.recipe).model, run.adapter)
    base = adapter_base(Path(name))
    if base is not None:
        return load_tuned(_section_for(base, section), Path(name))
    return load_policy(_section_for(name, section))


def _section_for(name: str, section: ModelSection) -> ModelSection:
    """Give how to load a model of any name, or an adapter's base; revision and trust are said of the recipe's alone."""
    if name == section.name:
        return section
    return section.model_copy(
        update={"name": name, "revision": None, "trust_remote_code": False, "allow_pickle": False}
    )


def _form(recipe: Recipe) -> dict[str, object]:
    """Give what decides an evaluation beside the request and the model."""
    return {
        "prompt": recipe.prompt.model_dump(mode="json"),
        "verify": recipe.rewards.verify.model_dump(mode="json"),
    }


def source_of(model: str, section: ModelSection) -> dict[str, object]:
    """Give how a model is loaded, and its weights."""
    folder = Path(razona.__file__).parent / "models" / EMBEDDED if model == EMBEDDED else Path(model)
    return {**_section_for(model, section).model_dump(mode="json"), "weights": _weights_of(folder)}


def _weights_of(folder: Path) -> dict[str, str]:
    """Give what tells the weights in a folder from others: small files by content, large ones by size and time."""
    adapter = RunDir(folder).adapter
    places = [adapter] if adapter.is_dir() else [folder]
    found = {}
    for path in sorted(one for place in places if place.is_dir() for one in place.glob("*.safetensors")):
        status = path.stat()
        if status.st_size <= HASHED_BYTES:
            found[path.name] = sha256(path.read_bytes()).hexdigest()
        else:
            found[path.name] = f"{status.st_size} bytes of {status.st_mtime_ns}"
    return found


@dataclass(slots=True)
class Models:
    """Loads models by name, and holds the last one: it is measured under several prompts."""

    _name: str = ""
    _policy: "Policy | None" = None

    def load(self, name: str, recipe: Recipe) -> "Policy":
        """Give a model; the one before is let go first.

        Raises:
            ModelError: as `load_model`.
        """
        if self._policy is None or self._name != name:
            self._policy = None
            self._policy, self._name = load_model(name, recipe), name
        return self._policy


def evaluate_named(
    model: str, wanted: Wanted, loaded: Loaded, out: Path, stage: Stage, models: Models | None = None
) -> dict[str, object]:
    """Evaluate a model in a folder, or go on with what is there.

    Args:
        models: loads it; None: anew.

    Returns:
        What `evaluation.json` holds.

    Raises:
        ModelError: the model cannot be loaded.
        RunFolderError: the folder holds another evaluation.
    """
    request = Request(
        model=model,
        data=loaded.source,
        kind=loaded.kind,
        prompt=wanted.prompt,
        samples=wanted.samples,
        temperature=wanted.temperature,
        is_greedy_too=wanted.is_greedy_too,
        max_tokens=wanted.max_tokens or (TASK_TOKENS if loaded.source == TASKS else OTHER_TOKENS),
        batch_size=wanted.batch_size,
        seed=wanted.seed,
        form=_form(wanted.recipe),
        source=source_of(model, wanted.recipe.model),
    )
    total = len(loaded.problems) * (wanted.samples + wanted.is_greedy_too)
    source = models or Models()
    return evaluate_in(
        out,
        lambda: source.load(model, wanted.recipe),
        loaded.problems,
        lambda policy: prompt_writer(wanted.prompt, wanted.recipe.prompt, _asking(policy, loaded.problems)),
        Judge(tags=tags_of(wanted.recipe.prompt), kind=loaded.kind, verify=wanted.recipe.rewards.verify),
        request,
        stage(model if wanted.prompt == TRAINING_PROMPT else f"{wanted.prompt}-prompted {model}", total),
    )


def screen_prompts(
    model: str, wanted: Wanted, loaded: Loaded, out: Path, stage: Stage, models: Models
) -> dict[str, dict]:
    """Measure a model under every way to ask, on a part of the problems, one sample and greedy each.

    Returns:
        Name of the prompt -> figures, the training's own among them.
    """
    part = replace(loaded, problems=loaded.problems[:SCREENING_PROBLEMS])
    names = other_prompts(_asking(models.load(model, wanted.recipe), loaded.problems), loaded.problems[0])
    return {
        name: evaluate_named(model, replace(wanted, prompt=name, samples=1), part, out / name, stage, models)
        for name in (TRAINING_PROMPT, *names)
    }


def _asking(policy: "Policy", problems: Sequence[Problem]) -> Asking:
    return Asking(tokenizer=policy.tokenizer, examples=list(problems[: NUM_EXAMPLES + 1]))
