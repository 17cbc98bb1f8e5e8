"""The notebooks run from the first cell to the last, and are kept without outputs."""

import ast
import json
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from razona.cli.main import app
from razona.core.rundir import RunDir
from razona.recipe import load
from razona.recipe.load import shipped

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
QWEN = "qwen3-4b-open-r1"


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def is_tagged(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def run(path: Path, folder: Path, parameters: Mapping[str, object], monkeypatch: pytest.MonkeyPatch) -> NotebookNode:
    """Execute a notebook with these parameters after its own, without its installation, in `folder`."""
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    verbs = {command.name for command in app.registered_commands}
    notebook = read(path)
    cells = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        is_other_verb = any(tag not in verbs for tag in tags if tag in ("check", "export"))
        if cell.cell_type != "code" or "install" in tags or is_other_verb:
            continue
        cells.append(cell)
        if "parameters" in tags:
            source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
            cells.append(nbformat.v4.new_code_cell(source))
    notebook.cells = cells
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    return client.execute()


def output(notebook: NotebookNode) -> str:
    return "".join(one.get("text", "") for cell in notebook.cells for one in cell.outputs)


def test_both_notebooks_are_there():
    assert [path.name for path in PATHS] == ["quickstart.ipynb", "qwen3_4b.ipynb"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_kept_without_outputs(path: Path):
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert {cell.execution_count for cell in code} == {None}
    assert sum(is_tagged(cell, "parameters") for cell in code) == 1
    for cell in code:
        ast.parse("\n".join(line for line in cell.source.splitlines() if not line.startswith("%")))


@pytest.mark.slow
def test_the_quickstart_trains_compares_and_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parameters = {"STEPS": 3, "COMPLETIONS": 64, "PROBLEMS": 32, "RUN": "runs/quick"}
    told = output(run(NOTEBOOKS / "quickstart.ipynb", tmp_path, parameters, monkeypatch))
    steps = RunDir(tmp_path / "runs/quick").read_steps()
    assert len(steps) == 3
    assert f"step  3  reward {steps[2]['reward']:.2f}  right {steps[2]['accuracy']:.0%}" in told
    for name, reward in [("right, in the form", 1.2), ("right, another form", 1.0), ("wrong, in the form", 0.0)]:
        assert f"{name:20} {reward:.1f}  " in told
    summary = json.loads((tmp_path / "runs/quick/comparison/summary.json").read_text())
    assert summary["base"]["n"] == summary["tuned"]["n"] == 32
    assert "In plain words" in told
    assert told.index("embedded\n    ") < told.index("runs/quick\n    ")
    assert "report.html" in told and "curves.png" in told


@pytest.mark.slow
@pytest.mark.long
def test_the_qwen_notebook_runs_with_a_small_model_and_local_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [{"prompt": f"What is {one} + {one % 7}?", "solution": str(one + one % 7)} for one in range(3, 43)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    recipe = QWEN if QWEN in shipped() else "open-r1-smoke"
    changes = {
        "model.name": "embedded", "data.source": "rows.jsonl", "train.steps": 2, "rollout.group_size": 4,
        "train.completions_per_step": 8, "train.microbatch_size": 4, "rollout.max_completion_tokens": 24,
        "guard.every": 0, "data.not_in": [],
    }  # fmt: skip
    known = load(recipe).data
    settings = [f"{key}={value}" for key, value in changes.items() if key != "data.not_in" or hasattr(known, "not_in")]
    parameters = {
        "RECIPE": recipe,
        "SETTINGS": settings,
        "RUN": "run",
        "CHECK": ["--no-model"],
        "EVALUATION": ["--data", "rows.jsonl", "--problems", 8, "--samples", 2, "--no-best-prompt"],
        "QUESTION": "What is 3 + 4?",
    }
    told = output(run(NOTEBOOKS / "qwen3_4b.ipynb", tmp_path, parameters, monkeypatch))
    assert [row["step"] for row in RunDir(tmp_path / "run").read_steps()] == [1, 2]
    assert json.loads((tmp_path / "run/comparison/summary.json").read_text())["tuned"]["n"] == 8
    assert "no GPU" in told or "GiB" in told
    assert "In plain words" in told and "tokens in" in told
