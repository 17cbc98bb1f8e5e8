"""Export: what is written is what was trained, loads elsewhere, and is refused where it is not."""

import json
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from export_runs import logits_of, make_run, make_whole_run
from safetensors.torch import load_file, save_file

from razona.core.errors import ExportError, ModelError, RazonaError, RecipeError, RunFolderError
from razona.core.nouns import Completion, Outcome, Problem, Verdict
from razona.core.rundir import RunDir
from razona.data import PromptWriter
from razona.evaluate.evaluation import Evaluation, Judged
from razona.export import Wanted, export, merged, proof
from razona.export.problems import Asked, choose_problems
from razona.export.proof import Reference, compare_logits, compare_scores, effect_kept, tolerance_of
from razona.models.load import Policy, load_tokenizer
from razona.recipe import ModelSection, load
from razona.train.dataset import prepare_data

QUICK = Wanted(num_problems=4)
IN_A_FRESH_PROCESS = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, question = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
messages = [{"role": "user", "content": question}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
with torch.no_grad():
    logits = model(**inputs).logits[0]
assert "razona" not in sys.modules and "peft" not in sys.modules
print(json.dumps({"prompt": prompt, "logits": logits[-1].tolist(), "ends": model.generation_config.eos_token_id}))
"""


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the embedded model with a random adapter; nothing is exported into it."""
    return make_run(tmp_path_factory.mktemp("runs") / "random").root


@pytest.fixture(scope="session")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "both"
    export(run, Wanted(formats=("adapter", "merged"), num_problems=4), out)
    return out


def test_merged_weights_load_without_razona_and_say_what_the_run_says(run: Path, exported: Path):
    question = "What is 3 + 4?"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_A_FRESH_PROCESS, str(exported / "merged"), question],
        capture_output=True, text=True, timeout=120, check=False, cwd=exported,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    writer = PromptWriter(section=load("demo").prompt, tokenizer=load_tokenizer(ModelSection()))
    assert found["prompt"] == writer.write(Problem(id="p", question=question, target="7"))
    torch.testing.assert_close(torch.tensor(found["logits"]), logits_of(run, found["prompt"])[-1], rtol=0, atol=1e-3)
    assert found["ends"] == load_tokenizer(ModelSection()).eos_token_id


def test_the_figures_of_a_faithful_export_are_those_of_rounding(exported: Path):
    figures = json.loads((exported / "merged" / "export.json").read_text())
    logits, score = figures["logits"], figures["score"]
    assert 0 < logits["relative_error"] < 1e-5 == logits["tolerance"]
    assert logits["effect_kept"] == pytest.approx(1, abs=1e-3) and logits["effect_of_training"] > 0.01
    assert score["n"] == 4 and score["are_held_out"] and score["run"]["value"] == score["export"]["value"]
    assert score["same_text"] == 4 and score["won"] == score["lost"] == 0
    assert figures["trained"] == "adapter" and figures["dtype"] == "float32"


def test_every_file_is_named_with_its_hash(exported: Path):
    for name in ("adapter", "merged"):
        files = json.loads((exported / name / "export.json").read_text())["files"]
        assert set(files) | {"export.json"} == {path.name for path in (exported / name).iterdir()}
        for file, told in files.items():
            content = (exported / name / file).read_bytes()
            assert told == {"bytes": len(content), "sha256": sha256(content).hexdigest()}


def test_an_exported_adapter_names_its_base_and_not_this_machines_folder(run: Path, exported: Path):
    settings = json.loads((exported / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "embedded"
    ours, theirs = (
        load_file(folder / "adapter_model.safetensors") for folder in (run / "adapter", exported / "adapter")
    )
    assert set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_bfloat16_keeps_the_effect_and_differs_by_its_rounding(run: Path, tmp_path: Path):
    figures = export(run, replace(QUICK, dtype="bfloat16"), tmp_path / "out")["merged"]
    assert figures["dtype"] == "bfloat16"
    assert 1e-4 < figures["logits"]["relative_error"] < figures["logits"]["tolerance"] == 0.0625
    assert figures["logits"]["effect_kept"] > 0.95
    stored = load_file(tmp_path / "out" / "merged" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}


def nothing_is_left(out: Path) -> bool:
    return not out.exists() or not any(out.iterdir())


def test_an_adapter_whose_up_projections_are_zero_is_refused(tmp_path: Path):
    run = make_run(tmp_path / "run", up=0)
    with pytest.raises(ExportError, match=r"all 28 up-projections \(lora_B\) are zero"):
        export(run.root, QUICK, tmp_path / "out")
    assert nothing_is_left(tmp_path / "out")


def test_an_adapter_without_effect_is_refused_though_its_up_projections_are_not_zero(tmp_path: Path):
    run = make_run(tmp_path / "run", down=0)
    with pytest.raises(ExportError, match="has no effect: the logits of the tuned policy are those of its base"):
        export(run.root, QUICK, tmp_path / "out")
    assert nothing_is_left(tmp_path / "out")


def test_an_adapter_that_is_not_finite_is_refused(tmp_path: Path):
    run = make_run(tmp_path / "run")
    path = run.adapter / "adapter_model.safetensors"
    weights = load_file(path)
    name = next(iter(weights))
    weights[name][0, 0] = float("nan")
    save_file(weights, path)
    with pytest.raises(ExportError, match=f"{name} holds numbers that are not finite"):
        export(run.root, QUICK, tmp_path / "out")


def test_a_merge_that_lost_the_adapter_is_refused_and_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("peft.tuners.lora.LoraModel.merge_and_unload", lambda self: self.unload())
    with pytest.raises(ExportError, match=r"no effect in the export: .* 0\.0% is there"):
        export(run, QUICK, tmp_path / "out")
    assert nothing_is_left(tmp_path / "out")


def test_a_weight_that_went_wrong_is_refused_and_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def write_wrongly(folder: Path, *others: object) -> None:
        write(folder, *others)
        weights = load_file(folder / "model.safetensors")
        weights["model.layers.1.mlp.up_proj.weight"] *= 1.01
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    write = merged.write_merged
    monkeypatch.setattr("razona.export.exporting.write_merged", write_wrongly)
    with pytest.raises(ExportError, match=r"is not what was trained: its logits differ by .* explains 1e-05"):
        export(run, QUICK, tmp_path / "out")
    assert nothing_is_left(tmp_path / "out")


def reference_of(tuned: list[list[float]], base: list[list[float]], **changes: object) -> Reference:
    problem = Problem(id="p", question="?", target="1")
    values = {
        "recipe": load("demo"),
        "asked": Asked(problems=(problem,) * 12, prompts=("",) * 12, are_held_out=True),
        "probe_texts": (),
        "probes": (),
        "texts": (),
        "tuned_NV": torch.tensor(tuned),
        "base_NV": torch.tensor(base),
        "greedy": answers(problem, [True] * 12),
        "ends": (0,),
        "dtype": "float32",
        **changes,
    }
    return Reference(**values)  # pyright: ignore[reportArgumentType]


def answers(problem: Problem, are_right: list[bool]) -> Evaluation:
    rows = tuple(
        (
            Judged(
                completion=Completion(problem_id="p", text=f"{is_right}", num_tokens=1, is_truncated=False),
                verdict=Verdict(outcome=Outcome.CORRECT if is_right else Outcome.INCORRECT),
                has_form=True,
                num_steps=0,
            ),
        )
        for is_right in are_right
    )
    return Evaluation(problems=(problem,) * len(are_right), judged_PK=rows)


@pytest.mark.parametrize(
    ("exported_NV", "kept"),
    [
        ([[3.0, -3.0, 0.0, 0.0]], 1.0),  # the tuned logits themselves
        ([[1.0, -1.0, 0.0, 0.0]], 0.0),  # the base's
        ([[1.5, -1.5, 0.0, 0.0]], 0.25),
        ([[3.0, -3.0, 9.0, -9.0]], 1.0),  # an error that has nothing to do with what training changed
        ([[-1.0, 1.0, 0.0, 0.0]], -1.0),  # subtracted and not added
    ],
)
def test_the_effect_kept_is_the_share_of_the_change_that_is_there(exported_NV: list, kept: float):
    reference = reference_of([[3.0, -3.0, 0.0, 0.0]], [[1.0, -1.0, 0.0, 0.0]])
    assert effect_kept(torch.tensor(exported_NV), reference) == pytest.approx(kept)


def test_the_tolerance_is_that_of_the_coarsest_number_format():
    assert tolerance_of("float32", "float32") == 1e-5
    assert tolerance_of("float16", "float32") == tolerance_of("float32", "float16") == 16 / 2048
    assert tolerance_of("bfloat16", "float16") == 16 / 256


def test_logits_that_are_not_finite_or_of_another_vocabulary_are_refused():
    reference = reference_of([[3.0, -3.0]], [[1.0, -1.0]])
    with pytest.raises(ExportError, match="not finite: a weight does not fit into float16"):
        compare_logits(torch.tensor([[3.0, float("nan")]]), reference, "float16")
    with pytest.raises(ExportError, match=r"shape \(1, 3\) where the run's policy gives \(1, 2\)"):
        compare_logits(torch.zeros(1, 3), reference, "float32")


@pytest.mark.parametrize(("num_right", "is_refused"), [(12, False), (11, False), (9, False), (3, True), (0, True)])
def test_a_clear_fall_of_the_score_is_refused_and_one_within_chance_is_told(
    num_right: int, is_refused: bool, monkeypatch: pytest.MonkeyPatch
):
    reference = reference_of([[1.0]], [[0.0]])
    found = answers(reference.asked.problems[0], [place < num_right for place in range(12)])
    monkeypatch.setattr(proof, "evaluate", lambda *arguments, **options: found)
    policy = Policy(model=None, tokenizer=None, name="")  # pyright: ignore[reportArgumentType]
    if is_refused:
        with pytest.raises(ExportError, match=r"of 12 problems where the run's policy solves 100\.0%"):
            compare_scores(policy, reference, lambda problem: "")
        return
    figures = compare_scores(policy, reference, lambda problem: "")
    assert (figures["lost"], figures["won"], figures["same_text"]) == (12 - num_right, 0, num_right)
    assert figures["export"]["value"] == pytest.approx(num_right / 12, abs=1e-4)


def test_a_run_that_trained_every_weight_is_exported_merged_and_has_no_adapter(random_model: Path, tmp_path: Path):
    run = make_whole_run(tmp_path / "run", random_model)
    with pytest.raises(RecipeError, match=r"trained every weight .* Give --to merged"):
        export(run.root, Wanted(formats=("adapter",)), tmp_path / "out")
    figures = export(run.root, QUICK, tmp_path / "out")["merged"]
    assert figures["trained"] == "all weights"
    assert figures["logits"]["effect_of_training"] > 0.01 and figures["logits"]["relative_error"] < 1e-5
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (run.adapter, tmp_path / "out" / "merged"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def folder_with(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("names", "error", "told"),
    [
        (("notes.txt",), RunFolderError, r"no run's, it holds no recipe\.yaml \(it holds notes\.txt\)"),
        (("adapter_config.json",), RunFolderError, "looks like a model's own folder: give that of the run"),
        (("recipe.yaml",), ModelError, "has not finished training: .*adapter holds no adapter"),
        (("recipe.yaml", "adapter/adapter_config.json"), ExportError, r"but no adapter_model\.safetensors"),
    ],
)
def test_a_folder_with_nothing_to_export_is_told(
    names: tuple[str, ...], error: type[RazonaError], told: str, tmp_path: Path
):
    with pytest.raises(error, match=told):
        export(folder_with(tmp_path / "run", *names), QUICK, tmp_path / "out")
    with pytest.raises(RunFolderError, match="there is no such folder"):
        export(tmp_path / "absent", QUICK)


def test_formats_and_number_formats_that_do_not_exist_are_told():
    with pytest.raises(RecipeError, match=r"--to onnx: there is no such format. Give one of adapter, merged, gguf"):
        Wanted(formats=("merged", "onnx"))
    with pytest.raises(RecipeError, match="--dtype int8: expected one of auto, float32, bfloat16, float16"):
        Wanted(dtype="int8")


def test_a_folder_that_holds_something_is_left_alone(run: Path, tmp_path: Path):
    taken = folder_with(tmp_path / "out" / "merged", "mine.txt")
    with pytest.raises(RunFolderError, match=f"--out: {taken} is there already and not empty"):
        export(run, QUICK, tmp_path / "out")
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]


def test_a_run_upon_a_base_in_4_bits_is_measured_and_exported_upon_the_whole_base(tmp_path: Path):
    run = make_run(tmp_path / "run")
    text = run.recipe.read_text()
    assert "load_in_4bit: false" in text
    run.recipe.write_text(text.replace("load_in_4bit: false", "load_in_4bit: true"))
    told: list[str] = []
    figures = export(run.root, QUICK, tmp_path / "out", told.append)["merged"]
    assert figures["was_trained_in_4_bits"] and "trained upon a base in 4 bits" in told[0]
    assert "rounded to 4 bits" in (tmp_path / "out" / "merged" / "README.md").read_text()


def test_rows_that_the_guard_held_out_are_those_that_an_export_is_proven_on(tmp_path: Path):
    rows = [{"question": f"What is {one} + {one % 7}?", "answer": str(one + one % 7)} for one in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    steps = ["train.steps=1", "train.completions_per_step=16", "train.microbatch_size=8"]
    recipe = load(
        "demo",
        [
            *steps,
            f"data.source={tmp_path}/rows.jsonl",
            "data.drop_longest=0.3",
            "guard.num_problems=9",
            "guard.every=1",
        ],
    )
    policy = Policy(model=None, tokenizer=load_tokenizer(recipe.model), name="")  # pyright: ignore[reportArgumentType]
    data = prepare_data(recipe, policy, RunDir(tmp_path / "run"))
    asked = choose_problems(recipe, policy.tokenizer, 50)
    assert asked.are_held_out and asked.problems == data.held_out and len(asked.problems) == 9
    assert not {problem.question for problem in asked.problems} & set(data.dataset["question"])
    loose = load("demo", [f"data.source={tmp_path}/rows.jsonl", "guard.every=0"])
    assert not choose_problems(loose, policy.tokenizer, 5).are_held_out
