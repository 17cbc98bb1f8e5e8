"""Rules on what is installed: the ranges of this package, and conflicts that are known. Versions are passed in."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from razona.advise.checks.finding import Finding, error

LOOKED_AT = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers")
"""Packages whose ranges in pyproject.toml are held against what is installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What a machine has."""

    versions: Mapping[str, str]
    """Package -> version; what is not installed is not there."""
    ranges: Mapping[str, str]
    """Package -> the specifier that this package demands of it."""
    has_gpu: bool
    has_triton: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Versions that do not work together."""

    when: str
    """A requirement that must be met for the rest to matter: `unsloth==2026.10.9`."""
    needs: tuple[str, ...] = ()
    """Requirements that must then be met, too."""
    needs_triton_without_gpu: bool = False
    why: str = field(default="")


CONFLICTS: tuple[Conflict, ...] = (
    Conflict(
        when="unsloth==2026.10.9",
        needs=("trl<=1.15", "transformers<=5.17", "datasets<5"),
        why="its own requirements; it patches their private parts",
    ),
    Conflict(
        when="trl>=1.15,<1.16",
        needs_triton_without_gpu=True,
        why="its fused log-prob kernel is written in Triton, and GRPO fails on a CPU without it",
    ),
)


def installed() -> Installed:
    """Read what this machine has. No package is imported."""
    demanded = [Requirement(line) for line in requires("razona") or []]
    ranges = {one.name: str(one.specifier) for one in demanded if one.marker is None and one.name in LOOKED_AT}
    names = {*LOOKED_AT, *(Requirement(one.when).name for one in CONFLICTS)}
    return Installed(
        versions={name: found for name in sorted(names) if (found := _version(name))},
        ranges=ranges,
        has_gpu=_has_gpu(),
        has_triton=find_spec("triton") is not None,
    )


def check_versions(machine: Installed) -> Iterator[Finding]:
    """Find packages outside the ranges of this one, and pairs that are known not to work together."""
    wanted = [f"{name}{specifier}" for name, specifier in machine.ranges.items()]
    unmet = list(_unmet(wanted, machine.versions))
    if unmet:
        yield error(
            "incompatible-versions",
            f"{_told(unmet, machine.versions)}; razona needs {', '.join(unmet)}",
            _pip(unmet),
        )
    for conflict in CONFLICTS:
        if list(_unmet([conflict.when], machine.versions)):
            continue
        name = Requirement(conflict.when).name
        if conflict.needs_triton_without_gpu and not machine.has_gpu and not machine.has_triton:
            yield error(
                "incompatible-versions",
                f"{name} {machine.versions[name]} without a GPU and without triton: {conflict.why}",
                _pip(["trl>=1.16,<1.17"]),
            )
        unmet = list(_unmet(conflict.needs, machine.versions))
        if unmet:
            yield error(
                "incompatible-versions",
                f"{name} {machine.versions[name]} with {_told(unmet, machine.versions)}; it needs {', '.join(unmet)}: "
                f"{conflict.why}",
                f"{_pip(unmet)} (or without it: pip uninstall {name})",
            )


def _unmet(wanted: Iterable[str], versions: Mapping[str, str]) -> Iterator[str]:
    """Give the requirements that are not met; a version that cannot be read meets them."""
    for line in wanted:
        requirement = Requirement(line)
        found = versions.get(requirement.name)
        if found is None or not _is_in(found, requirement.specifier):
            yield line


def _is_in(found: str, specifier: SpecifierSet) -> bool:
    try:
        return specifier.contains(Version(found), prereleases=True)
    except InvalidVersion:
        return True


def _told(unmet: Iterable[str], versions: Mapping[str, str]) -> str:
    names = [Requirement(line).name for line in unmet]
    return ", ".join(f"{name} {versions.get(name, 'is not installed')}" for name in names)


def _pip(requirements: Iterable[str]) -> str:
    return f"pip install {' '.join(repr(one) for one in requirements)}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _has_gpu() -> bool:
    """Say whether there is an NVIDIA GPU, without torch."""
    from razona.core.environment import describe_hardware

    return bool(describe_hardware()["gpus"])
