"""What a run ran on: command, versions, hardware, commit, seeds. Read at the edge, stored beside the results."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from razona.core.launch import num_processes, sharding

PACKAGES = ("razona", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "numpy")


def describe_environment(seeds: Mapping[str, int]) -> dict[str, object]:
    """Give command, versions, hardware, processes, git commit and seeds, as `environment.json` holds them."""
    return {
        "command": describe_command(sys.argv),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "hardware": describe_hardware(),
        "processes": num_processes(),
        "sharding": sharding(),
        "git_commit": _git_commit(),
        "seeds": dict(seeds),
    }


def describe_command(arguments: Sequence[str]) -> str:
    """Give the command line of this process as a shell would read it.

    `razona` and `python -m razona` are `razona`, wherever they are installed; a script is `python SCRIPT`.

    >>> describe_command(["/opt/razona/__main__.py", "train", "demo", "--set", "data.families=[a, b]"])
    "razona train demo --set 'data.families=[a, b]'"
    """
    program = Path(arguments[0]) if arguments else Path()
    is_razona = program.name == "razona" or program.parts[-2:] == ("razona", "__main__.py")
    return shlex.join([*(["razona"] if is_razona else ["python", str(program)]), *arguments[1:]])


def describe_hardware() -> dict[str, object]:
    """Give processor, usable cores, memory and NVIDIA GPUs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _gpus() -> list[str]:
    return [line for line in _run("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines() if line]


def _git_commit() -> str | None:
    return _run("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD") or None
