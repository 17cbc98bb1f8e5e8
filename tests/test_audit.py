"""The audit of the lock files: what was not looked up is never passed off as free of vulnerabilities."""

import importlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    for name in ("audit", "lock"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("audit")


def answer(*rows: Mapping[str, object]) -> str:
    return json.dumps({"dependencies": rows, "fixes": []})


IDNA = {"name": "idna", "version": "3.20", "vulns": []}
BAD = {"name": "idna", "version": "3.20", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.21"]}]}
# What pip-audit 2.10.1 gives where the index is a mirror without advisories; it exits 0 and prints
# "No known vulnerabilities found".
SKIPPED = {"name": "idna", "skip_reason": "Dependency not found on PyPI and could not be audited: idna (3.20)"}


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        (answer(SKIPPED), 2, "idna==3.20: Dependency not found on PyPI"),
        (answer(), 2, "idna==3.20: it is not in the answer"),
        ("requests.exceptions.ConnectionError: Failed to resolve", 2, "idna==3.20: pip-audit said requests"),
        ("", 2, "idna==3.20: pip-audit said nothing"),
        ("[]", 2, "idna==3.20: pip-audit said []"),
        (answer(BAD), 1, "idna==3.20: PYSEC-1, mended in 3.21"),
        (answer(IDNA), 0, ""),
    ],
)
def test_only_a_package_that_was_looked_up_counts_as_free_of_vulnerabilities(
    said: str, code: int, told: str, audit: ModuleType
) -> None:
    report = audit.audited(["idna==3.20"], lambda packages: said)
    assert audit.exit_code([report]) == code
    assert [line[: len(told)] for line in (*report.vulnerable, *report.unknown)] == ([told] if told else [])


def test_one_package_that_was_not_looked_up_spoils_the_audit_of_the_others(audit: ModuleType) -> None:
    good = audit.audited(["idna==3.20"], lambda packages: answer(IDNA))
    half = audit.audited(["idna==3.20", "six==1.17.0"], lambda packages: answer(IDNA))
    assert audit.exit_code([good, half]) == 2 and half.unknown == ("six==1.17.0: it is not in the answer",)


def test_nothing_asked_is_no_clean_bill(audit: ModuleType) -> None:
    assert audit.exit_code([]) == 2 and audit.exit_code([audit.audited([], lambda packages: answer())]) == 2


def test_names_are_compared_as_indexes_write_them(audit: ModuleType) -> None:
    row = {"name": "huggingface-hub", "version": "2.4.0", "vulns": []}
    assert audit.exit_code([audit.audited(["huggingface_hub==2.4.0"], lambda packages: answer(row))]) == 0


def test_torch_which_the_locks_leave_out_is_asked_about(audit: ModuleType) -> None:
    packages = audit.packages_of(ROOT / "requirements" / "lock.txt")
    assert f"torch=={audit.TORCH}" in packages and len(packages) > 50
    assert all(re.fullmatch(r"[\w.-]+==[\w.!+-]+", package) for package in packages)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_line_of_a_lock_has_one_version_and_a_hash(lock: Path) -> None:
    lines = [line for line in lock.read_text().splitlines() if line and not line.startswith("#")]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==\S+( --hash=sha256:[0-9a-f]{64})+", line)] == []


def test_the_installer_takes_the_lock_with_its_hashes() -> None:
    assert '--require-hashes --no-deps -r "$LOCK"' in (ROOT / "scripts" / "install.sh").read_text()
