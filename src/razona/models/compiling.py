"""torch's compiler: programs for every length, and a message where it cannot do its work."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch._dynamo.exc import BackendCompilerFailed, FailOnRecompileLimitHit, TorchDynamoException

from razona.core.errors import MachineError, first_line


@functools.cache
def compiled(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Give a function's compiled form, the same at each call; what does not compile as a whole is an error."""
    return torch.compile(function, fullgraph=True)


def vary(*tensors: torch.Tensor, dimensions: tuple[int, ...] = (0,)) -> None:
    """Tell the compiler that sizes of the tensors differ from call to call, so that one program serves for all."""
    for tensor in tensors:
        torch._dynamo.mark_dynamic(tensor, dimensions)


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
