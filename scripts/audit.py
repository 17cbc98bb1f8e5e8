"""Look every package of the lock files up among the known vulnerabilities, by pip-audit.

    make audit          both locks, and torch in the version that they are made for

pip-audit ends well, with "No known vulnerabilities found", where the service knows nothing of a package it was asked
about, or cannot be reached: it calls that skipped. Here a package that was not looked up is a failure.

Exit codes: 0 every package was looked up and none is known to be vulnerable, 1 one is, 2 not all could be looked up.
"""

import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lock import ROOT, TORCH, UNMET

FOLDER = ROOT / "build" / "audit"
"""Of pip-audit's own environment: what it needs is no part of ours."""
TOOL = ROOT / "requirements" / "audit.txt"
LOCKS = ("lock.txt", "unsloth.txt", "audit.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of the packages of one lock file."""

    asked: tuple[str, ...]
    """`name==version`."""
    vulnerable: tuple[str, ...] = ()
    """One line for each vulnerability."""
    unknown: tuple[str, ...] = ()
    """Packages that were not looked up, and why."""


Run = Callable[[Sequence[str]], str]
"""pip-audit: takes `name==version` lines and gives its JSON, or what it said in its place."""


def packages_of(lock: Path) -> list[str]:
    """Give `name==version` of each line of a lock, and torch's, which the locks leave out."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    found = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    return [*found, f"torch=={TORCH}"] if lock.name != TOOL.name else found


def audited(packages: Sequence[str], run: Run) -> Report:
    """Ask about packages; what the answer does not name was not looked up."""
    said = run(packages)
    try:
        rows = json.loads(said)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = (said.strip().splitlines() or ["nothing"])[-1][:300]
        return Report(asked=tuple(packages), unknown=tuple(f"{one}: pip-audit said {reason}" for one in packages))
    looked_up = {_key(row["name"]) for row in rows if "skip_reason" not in row}
    reasons = {_key(row["name"]): row.get("skip_reason", "") for row in rows}
    return Report(
        asked=tuple(packages),
        vulnerable=tuple(
            f"{row['name']}=={row['version']}: {bug['id']}, mended in {', '.join(bug['fix_versions']) or 'no version'}"
            for row in rows
            for bug in row.get("vulns", ())
        ),
        unknown=tuple(
            f"{one}: {reasons.get(_key(one), 'it is not in the answer')}"
            for one in packages
            if _key(one) not in looked_up
        ),
    )


def _key(package: str) -> str:
    """Give a package's name as every index writes it."""
    return package.partition("==")[0].lower().replace("_", "-").replace(".", "-")


def exit_code(reports: Sequence[Report]) -> int:
    """Give what the audit ends with."""
    if any(report.vulnerable for report in reports):
        return 1
    return 2 if any(report.unknown or not report.asked for report in reports) or not reports else 0


def pip_audit(packages: Sequence[str]) -> str:
    """Run pip-audit, in an environment of its own that is made the first time."""
    program = FOLDER / "bin" / "pip-audit"
    if not program.exists():
        venv.create(FOLDER, with_pip=True, clear=True)
        pip = [FOLDER / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        made = subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", TOOL], check=False)
        if made.returncode:
            return f"pip-audit could not be installed (pip ended with {made.returncode}, see above)"
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "requirements.txt"
        asked.write_text("\n".join(packages) + "\n", encoding="utf-8")
        options = ["--disable-pip", "--no-deps", "--progress-spinner", "off", "-f", "json"]
        done = subprocess.run([program, "-r", asked, *options], capture_output=True, text=True, check=False)
    return done.stdout if done.stdout.strip() else done.stderr


def main() -> None:
    reports = []
    for name in LOCKS:
        report = audited(packages_of(ROOT / "requirements" / name), pip_audit)
        reports.append(report)
        print(f"{name}: {len(report.asked)} packages, {len(report.asked) - len(report.unknown)} looked up")
        for line in report.vulnerable:
            print(f"  vulnerable  {line}")
        for line in report.unknown[:5]:
            print(f"  not looked up  {line}")
        if len(report.unknown) > 5:
            print(f"  not looked up  {len(report.unknown) - 5} more")
    code = exit_code(reports)
    left_out = f"{', '.join(UNMET)} of unsloth.txt and what a CUDA build of torch brings are in no lock"
    ends = {
        0: "every package was looked up, and none is known to be vulnerable",
        1: "known vulnerabilities, see above",
        2: "NOT DONE: not every package could be looked up (see above), so this says nothing about them. It needs "
        "pypi.org itself: a mirror has no advisories",
    }
    print(f"audit: {ends[code]}. Never looked up: {left_out}.", file=sys.stderr if code else sys.stdout)
    sys.exit(code)


if __name__ == "__main__":
    main()
