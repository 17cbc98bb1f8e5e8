"""The page of a comparison says what the stored completions say, counted here without the project's own metrics."""

import json
import re
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from light_verbs import run_light

from razona.models.load import embedded_folder
from razona.report.comparison import comparison_spec

REAL_RUN = Path(__file__).parents[1] / "runs" / "demo"
HOSTILE = "<script>alert(1)</script></script><!-- \x00 \u202e & <img src=x onerror=alert(1)>"


def stored_row(number: int, sample: int, is_right: bool, temperature: float) -> dict:
    return {
        "problem_id": f"p{number}",
        "family": "sums",
        "level": 1,
        "question": f"What is {number} + 1? {HOSTILE if number == 0 else ''}",
        "target": str(number + 1),
        "sample": sample,
        "temperature": temperature,
        "completion": f"{HOSTILE} {number + 1 if is_right else number}",
        "num_tokens": 5 + sample,
        "is_truncated": sample == 3,
        "outcome": "correct" if is_right else "incorrect",
        "answer": str(number + 1 if is_right else number),
        "reason": "",
        "has_form": is_right,
        "num_steps": 1,
    }


def write_run(folder: Path, *, count: int = 40, samples: int = 4) -> Path:
    rng = np.random.default_rng(4)
    ease = rng.beta(1, 1, count)
    for name, chance in (("base", 0.5 * ease), ("tuned", ease)):
        rows = [stored_row(n, k, bool(rng.random() < chance[n]), 1.0) for n in range(count) for k in range(samples)]
        rows += [stored_row(n, 0, bool(chance[n] > 0.4), 0.0) for n in range(count)]
        path = folder / "evaluations" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def razona(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "razona", *arguments], capture_output=True, text=True, check=False)


def embedded(page: str, name: str) -> dict:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def counted(run: Path, name: str) -> dict[str, object]:
    """Count one side's figures from its rows: by enumeration, with nothing of the project's."""
    rows = [json.loads(line) for line in (run / "evaluations" / f"{name}.jsonl").read_text("utf-8").splitlines()]
    right: dict[str, list[bool]] = {}
    greedy: dict[str, bool] = {}
    for row in rows:
        is_right = row["outcome"] == "correct"
        if row["temperature"] == 0:
            greedy[row["problem_id"]] = is_right
        else:
            right.setdefault(row["problem_id"], []).append(is_right)
    k = len(next(iter(right.values())))
    sampled = [row for row in rows if row["temperature"] != 0]
    figures = {
        f"pass@{tries}": np.mean([np.mean([any(some) for some in combinations(one, tries)]) for one in right.values()])
        for tries in range(1, k + 1)
    }
    return {
        "pass": figures,
        "greedy": np.mean(list(greedy.values())),
        "form": np.mean([row["has_form"] for row in sampled]),
        "length": np.mean([row["num_tokens"] for row in sampled]),
        "right": right,
        "greedy_right": greedy,
        "k": k,
    }


def check_page(run: Path, out: Path) -> str:
    done = razona("compare", str(run), "--out", str(out))
    assert done.returncode == 0, done.stderr
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "the base" in done.stdout and "the tuned model" in done.stdout
    base, tuned = counted(run, "base"), counted(run, "tuned")
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    specs = embedded(page, "specs")
    bars = {(row["metric"], row["model"]): row["value"] for row in data_rows(specs["in-distribution"])}
    for name, side in (("base", base), ("tuned", tuned)):
        k = side["k"]
        assert bars["pass@1", name] == pytest.approx(side["pass"]["pass@1"], abs=1e-4)
        assert bars[f"pass@{k}", name] == pytest.approx(side["pass"][f"pass@{k}"], abs=1e-4)
        assert bars["greedy", name] == pytest.approx(side["greedy"], abs=1e-4)
        assert summary[name]["format_rate"] == pytest.approx(side["form"], abs=1e-4)
        assert summary[name]["mean_length"] == pytest.approx(side["length"], abs=1e-2)
        curve = [point["value"] for point in summary[name]["pass_at"]]
        assert curve == pytest.approx(list(side["pass"].values()), abs=1e-4)
    shares = {one: (np.mean(base["right"][one]), np.mean(tuned["right"][one])) for one in base["right"]}
    difference = np.array([two - one for one, two in shares.values()])
    assert summary["gain"]["pass_at_1"] == pytest.approx(difference.mean(), abs=1e-4)
    half = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))  # what the bootstrap should come to
    low, high = summary["gain"]["ci95"]
    assert low == pytest.approx(difference.mean() - half, abs=0.25 * half)
    assert high == pytest.approx(difference.mean() + half, abs=0.25 * half)
    won = sum(tuned["greedy_right"][one] and not base["greedy_right"][one] for one in shares)
    lost = sum(base["greedy_right"][one] and not tuned["greedy_right"][one] for one in shares)
    assert (summary["greedy_won"], summary["greedy_lost"]) == (won, lost)
    assert embedded(page, "problems-data")["counts"] == {
        "lost": int((difference < 0).sum()),
        "won": int((difference > 0).sum()),
        "unchanged": int((difference == 0).sum()),
    }
    return page


def data_rows(spec: object):
    """Give the rows of a spec's inline data that hold a metric."""
    if isinstance(spec, dict):
        if "metric" in spec and "model" in spec and "value" in spec:
            yield spec
        for part in spec.values():
            yield from data_rows(part)
    elif isinstance(spec, list):
        for part in spec:
            yield from data_rows(part)


def test_the_page_of_a_run_says_what_its_stored_completions_say(tmp_path: Path):
    page = check_page(write_run(tmp_path / "run"), tmp_path / "out")
    assert "<script>alert(1)" not in page and "<img src=x" not in page
    assert len(page.encode()) < 5_000_000


@pytest.mark.slow
def test_the_page_of_the_real_demo_says_what_its_stored_completions_say(tmp_path: Path):
    if not (REAL_RUN / "evaluations" / "tuned.jsonl").exists():
        pytest.skip(f"{REAL_RUN} holds no finished run (make demo makes one)")
    check_page(REAL_RUN, tmp_path / "out")


def test_markdown_picture_and_gate(tmp_path: Path):
    run = write_run(tmp_path / "run")
    base, tuned = (str(run / "evaluations" / f"{name}.jsonl") for name in ("base", "tuned"))
    better = razona("compare", base, tuned, "--out", str(tmp_path / "a"), "--format", "md", "--gate",
                    "--png", str(tmp_path / "a.png"))  # fmt: skip
    assert better.returncode == 0, better.stderr
    assert better.stdout.startswith("**40 problems, 95 % intervals**\n\n| | base | tuned |")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    worse = razona("compare", tuned, base, "--out", str(tmp_path / "b"), "--gate", "--json")
    assert worse.returncode == 1
    assert json.loads(worse.stdout)["gain"]["ci95"][1] < 0
    gain = json.loads(worse.stdout)["gain"]["pass_at_1"]
    assert gain < 0 and f": {100 * gain:+.1f} points (95 % interval -" in json.loads(worse.stdout)["paragraph"]


def test_what_is_stored_is_compared_without_loading_torch(tmp_path: Path):
    write_run(tmp_path / "run")
    done = run_light(["compare", "run", "--out", "out", "--json"], cwd=tmp_path)
    assert json.loads(done.stdout)["gain"]["ci95"][0] > 0


def test_the_picture_has_the_figures_in_it():
    points = [{"k": k, "value": 0.1 * k, "ci95": [0.1 * k - 0.05, 0.1 * k + 0.05]} for k in (1, 2)]
    side = {"pass_at_1": 0.1, "pass_at_2": 0.2, "ci95": {"pass_at_1": [0.05, 0.15]}, "n": 9, "k": 2, "pass_at": points}
    spec = comparison_spec({"names": {"base": "a", "tuned": "b"}, "base": side, "tuned": side})
    named = set(re.findall(r'"name": "(data-[0-9a-f]+)"', json.dumps(spec)))
    assert len(spec["hconcat"]) == 2 and named == set(spec["datasets"])
    assert {row["value"] for rows in spec["datasets"].values() for row in rows} == {0.1, 0.2}
    assert "var(--" not in json.dumps(spec)


def test_runs_on_different_problems_are_compared_only_if_asked(tmp_path: Path):
    one, two = write_run(tmp_path / "one", count=40), write_run(tmp_path / "two", count=30)
    asked = ("compare", str(one), str(two), "--out", str(tmp_path / "out"))
    refused = razona(*asked)
    assert refused.returncode == 2
    assert "10 only in one (p30, p31, p32, p33, p34, ...); 30 are in both" in refused.stderr
    done = razona(*asked, "--intersect")
    assert done.returncode == 0, done.stderr
    assert "10 problems that only one of them has are left out" in " ".join(done.stdout.replace("│", " ").split())


def test_a_run_without_evaluations_is_refused(tmp_path: Path):
    done = razona("compare", str(tmp_path))
    assert done.returncode == 2
    assert "expected the folder of a run that has measured base and tuned" in done.stderr


@pytest.mark.slow
def test_two_models_are_measured_and_one_with_its_copy_is_not_distinguishable(tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(embedded_folder(), copy)
    asked = ("--problems", "12", "--samples", "2", "--out", str(tmp_path / "out"), "--json")
    done = razona("compare", "embedded", str(copy), *asked)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["names"] == {"base": "embedded", "tuned": "copy"}
    assert summary["gain"]["ci95"] == [0.0, 0.0] and summary["greedy_won"] == summary["greedy_lost"] == 0
    assert set(summary["base_prompts"]) == {"training", "bare", "question-answer", "working", "few-shot"}
    assert summary["base_best"]["prompt"] in summary["base_prompts"]
    assert "In 2 tries they are not distinguishable" in summary["paragraph"]
    assert summary["different_settings"] == [] and "not measured alike" not in summary["paragraph"]
    measured = sorted(path.parent.name for path in (tmp_path / "out").rglob("evaluation.json"))
    assert measured == sorted(["base", "base-best-prompt", "tuned", *summary["base_prompts"]])
    again = razona("compare", "embedded", str(copy), *asked)
    assert json.loads(again.stdout) == summary  # everything was there: nothing is sampled anew
