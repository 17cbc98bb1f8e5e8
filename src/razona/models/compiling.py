"""torch's compiler, with a message where it cannot do its work."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch._dynamo.exc import BackendCompilerFailed, FailOnRecompileLimitHit, TorchDynamoException

from razona.core.errors import MachineError, first_line


@contextmanager
def compiling(what: str, option: str) -> Iterator[None]:
    """Call compiled programs in the body; the first call of each compiles it.

    Args:
        what: is compiled, in a person's words.
        option: of the recipe, that asked for it.

    Raises:
        MachineError: it does not compile here.
    """
    try:
        yield
    except (TorchDynamoException, FailOnRecompileLimitHit) as error:
        advice = ""
        if isinstance(error, BackendCompilerFailed):
            advice = "It needs a C++ compiler: g++, or the one that CXX names. Install it where it is missing. "
        if isinstance(error, FailOnRecompileLimitHit):
            advice = "This process has compiled for several models; begin a new one. "
        raise MachineError(
            f"{option}: true, and torch {torch.__version__} cannot compile {what} on this machine: "
            f"{first_line(error)}. {advice}{'Or set' if advice else 'Set'} {option}: false."
        ) from error
