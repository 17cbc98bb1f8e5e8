"""Write requirements/lock.txt: every package but torch, with the version and the hashes that pip resolved.

torch is left out because the build that is right depends on the machine; scripts/install.sh chooses it.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PINS = ("trl==1.16.0", "transformers==5.23.0", "setuptools<81")


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"], *PINS]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        constraint = Path(folder) / "constraint.txt"
        constraint.write_text("torch==2.13.0+cpu\n", encoding="utf-8")
        subprocess.run([*command, "-c", str(constraint), "--report", str(report), *wanted], check=True)
        packages = json.loads(report.read_text(encoding="utf-8"))["install"]
    lines = ["# Written by `make lock`. torch is not here: scripts/install.sh chooses its build."]
    for package in sorted(packages, key=lambda entry: entry["metadata"]["name"].lower()):
        name, version = package["metadata"]["name"], package["metadata"]["version"]
        if name == "torch":
            continue
        digest = package["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{name}=={version} --hash=sha256:{digest}")
    (ROOT / "requirements" / "lock.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
