"""Whether torch can compile here, and how many programs it has made."""

import os
import shutil

import pytest
from torch._dynamo.utils import counters

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="there is no C++ compiler for torch's"
)


def programs() -> int:
    return counters["stats"]["unique_graphs"]
