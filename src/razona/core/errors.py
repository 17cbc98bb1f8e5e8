"""Every error Razona raises on purpose.

    RazonaError
    ├── RecipeError   (ValueError)    the recipe or an option asks for something that cannot be
    ├── DataError     (ValueError)    a data file or row is not what the recipe says it is
    │   ├── ColumnError               a column that the recipe names is not there
    │   └── NothingToLearnError       the model wrote nothing that the verifier accepts
    ├── ModelError    (ValueError)    a model folder or name cannot be used as asked
    ├── RunFolderError(ValueError)    a run folder is missing, taken or of another run
    ├── RewardError   (RuntimeError)  a reward function broke its contract
    ├── CheckError    (RuntimeError)  the check before training found what should stop it
    ├── ExportError   (RuntimeError)  what was exported is not what was trained
    ├── TrainingError (RuntimeError)  steps no longer change the weights
    ├── StoppedError  (RuntimeError)  a signal ended the run, with an exit code of its own
    └── MachineError  (RuntimeError)  the machine cannot do it: disk, memory, a missing package
        └── DiskError                 a file cannot be written

The `ValueError` half is the person's to mend and ends a command with exit code 2; the `RuntimeError`
half is the machine's and ends it with 1, a signal's with 128 and its number. A message says where, what
was given, what was expected and what to do.
"""

from collections.abc import Mapping, Sequence


class RazonaError(Exception):
    """Base of every error below."""

    exit_code = 2


class RecipeError(RazonaError, ValueError):
    """The recipe, or a `--set`, asks for something that cannot be."""


class DataError(RazonaError, ValueError):
    """A data set, or a row of it, is not what the recipe says it is."""


class ColumnError(DataError):
    """A column that the recipe names is not in the data set."""


class NothingToLearnError(DataError):
    """None of the model's own completions is right, so there is nothing of its own to fine-tune it on."""


class ModelError(RazonaError, ValueError):
    """A model name or folder cannot be used as asked."""


class RunFolderError(RazonaError, ValueError):
    """A run folder is missing, in use, or belongs to something else."""


class RewardError(RazonaError, RuntimeError):
    """A reward function raised, took too long, or returned something that is not one number or None a row."""

    exit_code = 1
    row: int | None = None
    """Of the batch, from 0, where it is one row's fault."""
    batch: Sequence[Mapping[str, object]] = ()
    """The rows that it was called with, where they are stored nowhere else."""


class CheckError(RazonaError, RuntimeError):
    """The check before training found what should stop it."""

    exit_code = 1


class ExportError(RazonaError, RuntimeError):
    """What was exported is not what was trained, or nothing was trained."""

    exit_code = 1


class TrainingError(RazonaError, RuntimeError):
    """Training cannot go on: its losses or gradients are no numbers."""

    exit_code = 1


class StoppedError(RazonaError, RuntimeError):
    """A signal told the run to end, and it has."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class MachineError(RazonaError, RuntimeError):
    """The machine cannot do what was asked: no disk space, no memory, a package is missing."""

    exit_code = 1


class DiskError(MachineError):
    """A file cannot be written: the disk is full, or gives errors."""


def first_line(error: Exception) -> str:
    """Give an error's own words, in one line; where it has none, its name."""
    return str(error).strip().split("\n")[0] or type(error).__name__
