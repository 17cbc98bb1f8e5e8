"""Write a lock: every package but torch, with the version and the hash that pip resolved.

    scripts/lock.py              requirements/lock.txt, for a CPU and a plain GPU, with this interpreter
    scripts/lock.py --unsloth    requirements/unsloth.txt, for CPython 3.12 on x86-64 Linux, from any machine
    scripts/lock.py --audit      requirements/audit.txt, what `make audit` runs, with this interpreter

torch is left out because the build that is right depends on the machine; scripts/install.sh chooses it. So is what a
CUDA build of torch brings along.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PINS = ("trl==1.16.0", "transformers==5.23.0", "setuptools<81")
TORCH = "2.13.0"
WITH_TORCH = ("torch", "triton", "nvidia-", "cuda-")
UNSLOTH = ("unsloth==2026.10.9", "unsloth_zoo==2026.10.9")
AUDIT = "pip-audit==2.10.1"
UNMET = ("certifi",)
"""What Unsloth wants younger than the index had it on the day of the lock. Its line says so, without a hash."""
TARGET = ["--only-binary=:all:", "--python-version", "3.12", "--platform", "manylinux2014_x86_64"]
for minor in range(5, 40):
    TARGET += ["--platform", f"manylinux_2_{minor}_x86_64"]
TARGET_MARKERS = {
    "python_version": "3.12",
    "python_full_version": "3.12.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "extra": "",
}


def resolve(wanted: list[str], torch: str, *options: str) -> list[dict]:
    """Give what pip would install, without installing it."""
    with tempfile.TemporaryDirectory() as folder:
        report, constraint = Path(folder) / "report.json", Path(folder) / "constraint.txt"
        constraint.write_text(f"torch=={torch}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        where = ["--target", folder] if options and "--platform" in options else []
        subprocess.run(
            [*command, *where, *options, "-c", str(constraint), "--report", str(report), *wanted], check=True
        )
        return json.loads(report.read_text(encoding="utf-8"))["install"]


def lines_of(packages: list[dict], left_out: tuple[str, ...]) -> list[str]:
    """Give a line a package, in the order of their names."""
    lines = []
    for package in sorted(packages, key=lambda entry: entry["metadata"]["name"].lower()):
        name, version = package["metadata"]["name"], package["metadata"]["version"]
        if not any(name == one or (one.endswith("-") and name.startswith(one)) for one in left_out):
            digest = package["download_info"]["archive_info"]["hashes"]["sha256"]
            lines.append(f"{name}=={version} --hash=sha256:{digest}")
    return lines


def write_lock(project: dict) -> None:
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"], *PINS]
    lines = ["# Written by `make lock`. torch is not here: scripts/install.sh chooses its build."]
    lines += lines_of(resolve(wanted, f"{TORCH}+cpu"), ("torch",))
    (ROOT / "requirements" / "lock.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_unsloth_lock(project: dict) -> None:
    """Resolve what Unsloth's own metadata demands, together with ours, and add its two wheels."""
    own = resolve([*UNSLOTH], TORCH, "--no-deps", *TARGET)
    demanded = [Requirement(line) for package in own for line in package["metadata"]["requires_dist"]]
    demanded = [one for one in demanded if one.marker is None or one.marker.evaluate(TARGET_MARKERS)]
    unmet = sorted({f"{one.name}{one.specifier}" for one in demanded if one.name in UNMET})
    names = {package["metadata"]["name"].replace("-", "_") for package in own}
    wanted = [
        f"{one.name}{one.specifier}"
        for one in demanded
        if one.name not in UNMET and one.name.replace("-", "_") not in names
    ]
    extra = [one for one in project["optional-dependencies"]["unsloth"] if one not in UNSLOTH]
    packages = resolve([*wanted, *project["dependencies"], *extra], TORCH, *TARGET)
    packages = [package for package in packages if package["metadata"]["name"] not in UNMET]
    lines = [
        "# Written by `make lock-unsloth`, for CPython 3.12 on x86-64 Linux. Not installed so far, nor run on a GPU.",
        f"# torch=={TORCH} and what its CUDA build brings are not here.",
        *[f"# {one} is not here: the index that this was resolved from had no such version." for one in unmet],
        *lines_of([*packages, *own], WITH_TORCH),
    ]
    (ROOT / "requirements" / "unsloth.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_audit_lock() -> None:
    lines = ["# Written by `scripts/lock.py --audit`: pip-audit and what it needs."]
    lines += lines_of(resolve([AUDIT], TORCH), ())
    (ROOT / "requirements" / "audit.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--unsloth", action="store_true", help="write requirements/unsloth.txt instead")
    parser.add_argument("--audit", action="store_true", help="write requirements/audit.txt instead")
    options = parser.parse_args()
    if options.audit:
        write_audit_lock()
        return
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (write_unsloth_lock if options.unsloth else write_lock)(project)


if __name__ == "__main__":
    main()
