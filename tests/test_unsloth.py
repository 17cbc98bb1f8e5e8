"""The Unsloth backend, with a package of ours in its place: what it is told, when, and what is said without it."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import fake_unsloth
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import razona
from razona.core.errors import ModelError, RecipeError
from razona.core.files import read_jsonl
from razona.models import unsloth as backend
from razona.models.load import load_policy
from razona.models.unsloth import choose_backend, import_first
from razona.recipe import ModelSection, Recipe, load
from razona.rollout import Sampling, choose_engine, generate
from razona.train import train

SMALL = (
    "train.steps=2",
    "train.completions_per_step=16",
    "train.microbatch_size=8",
    "train.warmup_steps=0",
    "train.sampling=uniform",
    "train.seed=11",
    "rollout.group_size=4",
    "rollout.max_completion_tokens=16",
    "rewards.mix=sum",
    "rewards.components=[{name: random}]",
    "guard.every=0",
)
UNSLOTH = "model.backend=unsloth"


def recipe_of(model: Path | str, *changes: str) -> Recipe:
    return load("demo", [f"model.name={model}", *SMALL, *changes])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch):
    """A machine with a GPU and a package that was imported first."""
    fake_unsloth.CALLS.clear()
    monkeypatch.setitem(sys.modules, "unsloth", fake_unsloth)
    monkeypatch.setattr(backend, "has_gpu", lambda: True)
    monkeypatch.setattr(backend, "came_too_late", lambda bound=None: "")
    return fake_unsloth.CALLS


def called(calls: list[tuple[str, dict]], name: str) -> list[dict]:
    return [values for one, values in calls if one == name]


# --- What Unsloth is told ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(random_model: Path, tmp_path_factory: pytest.TempPathFactory):
    """Two steps with guard, what Unsloth was asked meanwhile, and what was printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "unsloth", fake_unsloth)
        patch.setattr(backend, "has_gpu", lambda: True)
        patch.setattr(backend, "came_too_late", lambda bound=None: "")
        fake_unsloth.CALLS.clear()
        recipe = recipe_of(
            random_model,
            UNSLOTH,
            "model.dtype=float32",
            "lora={rank: 4, alpha: 12, dropout: 0.25, target_modules: [q_proj, down_proj]}",
            "guard={every: 2, num_problems: 4, samples: 2}",
        )
        result = train(recipe, tmp_path_factory.mktemp("unsloth") / "run")
        return recipe, result, list(fake_unsloth.CALLS)


def test_the_loader_gets_the_recipes_values(trained):
    import torch

    recipe, result, calls = trained
    (values,) = called(calls, "from_pretrained")
    assert values["model_name"] == recipe.model.name and values["use_exact_model_name"] is True
    assert values["dtype"] is torch.float32 and values["load_in_4bit"] is False
    assert values["revision"] is None and values["trust_remote_code"] is False
    assert values["use_gradient_checkpointing"] == "unsloth" and values["fast_inference"] is False
    assert values["random_state"] == 11 and values["max_lora_rank"] == 4
    longest = json.loads(result.run.manifest.read_text())["prompt_tokens"]["max"]
    assert values["max_seq_length"] >= longest + 16


def test_the_adapter_gets_the_recipes_values(trained):
    _, _, calls = trained
    (values,) = called(calls, "get_peft_model")
    assert values == {
        "r": 4,
        "lora_alpha": 12.0,
        "lora_dropout": 0.25,
        "target_modules": ["q_proj", "down_proj"],
        "bias": "none",
        "use_gradient_checkpointing": "unsloth",
        "random_state": 11,
    }


def test_steps_completions_and_adapter_are_kept_as_ever(trained):
    _, result, _ = trained
    assert [row["step"] for row in result.run.read_steps()] == [1, 2]
    assert all(row["grad_norm"] > 0 and row["seconds/sampling"] > 0 for row in result.run.read_steps())
    rows = list(read_jsonl(result.run.completions(2)))
    assert len(rows) == 16 and all(row["completion"] and row["outcome"] for row in rows)
    adapter = json.loads((result.run.adapter / "adapter_config.json").read_text())
    assert adapter["r"] == 4 and sorted(adapter["target_modules"]) == ["down_proj", "q_proj"]


def test_the_guard_samples_in_unsloths_inference_mode_and_goes_back(trained):
    _, result, calls = trained
    modes = [name for name, _ in calls if name.startswith("for_")]
    measurements = len(result.run.read_guard())
    assert measurements == 2  # before step 1 and after step 2
    assert modes.count("for_inference") >= measurements
    assert modes == ["for_inference", "for_training"] * (len(modes) // 2)
    assert {values["use_gradient_checkpointing"] for values in called(calls, "for_training")} == {"unsloth"}


def test_a_text_longer_than_the_models_positions_is_refused(fake, random_model: Path, tmp_path: Path):
    config = json.loads((random_model / "config.json").read_text())
    limit = config["max_position_embeddings"]
    recipe = recipe_of(random_model, UNSLOTH, f"rollout.max_completion_tokens={limit}")
    with pytest.raises(ModelError, match=rf"knows {limit} positions.*rollout\.max_completion_tokens = {limit}"):
        train(recipe, tmp_path / "run")
    assert called(fake, "from_pretrained") == []


def test_our_engines_keep_off_unsloths_layers(random_model: Path, tmp_path: Path):
    from razona.train.packed import unsupported_reason

    policy = load_policy(ModelSection(name=str(random_model)))
    assert choose_engine(policy.model, "native") == ("native", "") and unsupported_reason(policy.model) == ""
    rewritten = fake_unsloth._with_modes(policy.model)
    for wanted in ("native", "transformers"):
        engine, note = choose_engine(rewritten, wanted)
        assert engine == "generate" and wanted in note
    assert "Unsloth" in unsupported_reason(rewritten)


def test_a_plain_model_whose_class_unsloth_has_changed_is_known(random_model: Path, monkeypatch):
    policy = load_policy(ModelSection(name=str(random_model)))
    attention = type(policy.model.model.layers[0].self_attn)
    assert not backend.is_rewritten(policy.model)

    def fast_forward(self, *args, **kwargs): ...

    fast_forward.__module__ = "unsloth.models.qwen3"
    monkeypatch.setattr(attention, "forward", fast_forward)
    assert backend.is_rewritten(policy.model) and choose_engine(policy.model, "native")[0] == "generate"


# --- Sampling with generate ----------------------------------------------------------------------------------------


def sampled_by(engine: str, policy, prompts: list[list[int]], **sampling) -> list[list[int]]:
    ends = [policy.tokenizer.eos_token_id]
    padding = policy.tokenizer.pad_token_id
    done = generate(
        policy.model,
        prompts,
        engine=engine,
        padding=padding,
        ends=ends,
        sampling=Sampling(**{"max_tokens": 24, **sampling}),
        seed=3,
    )
    return [one.ids for one in done]


def test_generate_is_greedy_as_our_engine_is_and_ignores_the_models_own_settings():
    policy = load_policy(ModelSection())
    encoded = policy.tokenizer(["Question: 3 + 4", "What is 12 * 5?\n", "a"], add_special_tokens=False)["input_ids"]
    assert sampled_by("generate", policy, encoded, temperature=0.0) == sampled_by(
        "native", policy, encoded, temperature=0.0
    )
    policy.model.generation_config.top_k = 1  # would make every draw the likeliest token
    drawn = sampled_by("generate", policy, encoded, temperature=1.0)
    assert drawn != sampled_by("generate", policy, encoded, temperature=0.0)
    assert drawn == sampled_by("generate", policy, encoded, temperature=1.0)  # the seed fixes it
    assert drawn != sampled_by("generate", policy, encoded, temperature=1.0, top_k=1)


def test_generate_leaves_nothing_behind_the_end_and_the_random_state_alone():
    import torch

    policy = load_policy(ModelSection())
    encoded = policy.tokenizer(["Question: 3 + 4"] * 12, add_special_tokens=False)["input_ids"]
    end = policy.tokenizer.eos_token_id
    before = torch.get_rng_state()
    rows = sampled_by("generate", policy, encoded, max_tokens=96)
    assert torch.equal(before, torch.get_rng_state())
    ended = [row for row in rows if end in row]
    assert ended and all(row.index(end) == len(row) - 1 for row in ended)
    assert all(len(row) == 96 for row in rows if end not in row)


def test_a_text_that_unsloth_would_cut_off_is_refused(random_model: Path):
    policy = load_policy(ModelSection(name=str(random_model)))
    policy.model.max_seq_length = 30
    assert sampled_by("generate", policy, [[5] * 6], max_tokens=24)
    with pytest.raises(ModelError, match="a prompt of 7 tokens with completions of 24 is longer than the 30"):
        sampled_by("generate", policy, [[5] * 7], max_tokens=24)


@pytest.mark.parametrize(("read", "length"), [(90, 90 + 16), (200, 128), (1, 40 + 16)])
def test_the_length_leaves_room_for_every_prompt_of_the_source_within_the_positions(read: int, length: int):
    config = SimpleNamespace(max_position_embeddings=128)
    assert backend._length(config, "m", backend.Lengths(longest_prompt=40, longest_read=read), 16) == length


# --- Where it cannot be --------------------------------------------------------------------------------------------


def test_without_a_gpu_unsloth_is_an_error_with_the_command_and_auto_takes_peft(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    with pytest.raises(ModelError, match=r'needs an NVIDIA GPU.*pip install "razona\[unsloth\]".*backend: peft'):
        choose_backend(recipe_of("hub/model", UNSLOTH))
    chosen = choose_backend(recipe_of("hub/model"))
    assert chosen.name == "peft"
    assert chosen.note.startswith("model.backend: auto trains with PEFT, not Unsloth: it needs an NVIDIA GPU")
    assert "\n" not in chosen.note
    backend.say_backend(chosen)
    assert capsys.readouterr().err == f"razona: {chosen.note}\n"


def test_a_missing_package_is_told_with_the_install_command(monkeypatch):
    monkeypatch.setattr(backend, "has_gpu", lambda: True)
    with pytest.raises(ModelError, match=r'unsloth is not installed\. Install it: pip install "razona\[unsloth\]"'):
        choose_backend(recipe_of("hub/model", UNSLOTH))
    assert "not installed" in choose_backend(recipe_of("hub/model")).note


def test_what_was_imported_before_unsloth_is_named(monkeypatch):
    monkeypatch.setattr(backend, "has_gpu", lambda: True)
    monkeypatch.setattr(backend, "is_installed", lambda: True)
    words = r"trl, transformers, peft were imported before unsloth.*Start it with `razona train`"
    with pytest.raises(ModelError, match=words):
        choose_backend(recipe_of("hub/model", UNSLOTH))
    assert "were imported before unsloth" in choose_backend(recipe_of("hub/model")).note
    import_first(recipe_of("hub/model", UNSLOTH))  # too late here as well: it leaves the telling to the run
    assert "unsloth" not in sys.modules


def test_a_trainer_of_ours_that_stands_on_trls_own_is_too_late(monkeypatch):
    from trl.trainer import grpo_trainer

    ours = grpo_trainer.GRPOTrainer
    monkeypatch.setattr(backend, "has_gpu", lambda: True)
    monkeypatch.setitem(sys.modules, "unsloth", fake_unsloth)
    assert choose_backend(recipe_of("hub/model"), ours).name == "unsloth"
    monkeypatch.setattr(grpo_trainer, "GRPOTrainer", type("UnslothGRPOTrainer", (ours,), {}))
    assert "razona.train was imported before unsloth" in choose_backend(recipe_of("hub/model"), ours).note
    assert choose_backend(recipe_of("hub/model"), grpo_trainer.GRPOTrainer).name == "unsloth"


def test_the_embedded_model_and_peft_say_nothing(fake, monkeypatch):
    monkeypatch.setattr(backend, "has_gpu", lambda: pytest.fail("nobody should ask"))
    for recipe in (recipe_of("embedded"), recipe_of("hub/model", "model.backend=peft")):
        assert choose_backend(recipe) == backend.Backend(name="peft")
        import_first(recipe)


def test_auto_takes_unsloth_where_gpu_and_package_are_there(fake):
    assert choose_backend(recipe_of("hub/model")) == backend.Backend(name="unsloth")


def test_several_processes_are_refused(fake, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ModelError, match="for one process, and this run has 2"):
        choose_backend(recipe_of("hub/model", UNSLOTH))
    assert "this run has 2" in choose_backend(recipe_of("hub/model")).note


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["lora=null"], "lora: null trains all weights"),
        (["train.method=sft_then_grpo"], "train.method: sft_then_grpo: Unsloth rewrites"),
        (["rollout.engine=vllm"], "rollout.engine: vllm is TRL's engine"),
        (["rollout.max_slots=8"], "rollout.max_slots = 8 bounds our engine alone"),
        (["rollout.compile=true"], "compiles a step of our own engine, and Unsloth's generate samples"),
        (["train.precision=float32"], "Unsloth trains in bfloat16 or float16"),
        (["train.loss_type=dr_grpo"], "train.scale_rewards: group with loss_type: dr_grpo"),
    ],
)
def test_what_unsloth_would_do_otherwise_is_refused_and_auto_takes_peft(fake, changes, words):
    with pytest.raises(RecipeError, match=words):
        recipe_of("hub/model", UNSLOTH, *changes)
    chosen = choose_backend(recipe_of("hub/model", *changes))
    assert chosen.name == "peft" and words in chosen.note


def test_dr_grpo_without_scaling_goes_with_unsloth():
    assert recipe_of("hub/model", UNSLOTH, "train.loss_type=dr_grpo", "train.scale_rewards=none")


# --- The lock ------------------------------------------------------------------------------------------------------

ROOT = Path(razona.__file__).parents[2]
LOCK = ROOT / "requirements" / "unsloth.txt"
DEMANDED = (
    "trl<=1.15.0,>=0.18.2",
    "transformers<=5.17.0",
    "datasets!=4.0.*,!=4.1.0,!=4.4.*,!=4.5.0,<5.0.0,>=3.4.1",
    "peft>=0.18.0",
    "bitsandbytes!=0.46.0,!=0.48.0,>=0.45.5",
    "xformers>=0.0.27.post2",
    "torchao>=0.13.0",
)
"""Some of what the metadata of unsloth and unsloth_zoo 2026.10.9 asks for."""


def test_the_lock_holds_what_unsloth_the_extra_and_razona_ask_for():
    lines = [line.split() for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    pins = {canonicalize_name(one[0].split("==")[0]): one[0].split("==")[1] for one in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*DEMANDED, *project["dependencies"], *project["optional-dependencies"]["unsloth"]]
    missed = {
        line
        for line in asked
        if not Requirement(line).specifier.contains(pins.get(canonicalize_name(Requirement(line).name), "0"))
    }
    assert missed == {line for line in project["dependencies"] if line.startswith("torch")}
    assert len(asked) > 20
    assert not [name for name in pins if name.startswith(("torch=", "nvidia-", "cuda-")) or name == "torch"]
    assert all(one[1].startswith("--hash=sha256:") and len(one[1]) == 14 + 64 for one in lines)


# --- The order of imports, from the command line -------------------------------------------------------------------


def run_train(tmp_path: Path, model: Path, package: Path | None, *changes: str) -> subprocess.CompletedProcess:
    """Call `razona train` where `nvidia-smi` answers, with a package `unsloth` on the path.

    The model is random and never ends a completion, which the check would refuse.
    """
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\nexit 0\n")
    (tools / "nvidia-smi").chmod(0o755)
    path = [str(Path(razona.__file__).parents[1]), *([str(package)] if package else [])]
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(path),
        "FAKE_UNSLOTH_CALLS": str(tmp_path / "calls.jsonl"),
    }
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    options = [f"model.name={model}", "model.dtype=float32", *SMALL, "train.steps=1", *changes]
    sets = [part for one in options for part in ("--set", one)]
    command = [sys.executable, "-m", "razona", "train", "demo", "--out", str(tmp_path / "run"), *sets]
    command += ["--allow", "limit-below-median"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_razona_train_imports_unsloth_before_all_that_it_rewrites(random_model: Path, tmp_path: Path):
    done = run_train(tmp_path, random_model, fake_unsloth.write_package(tmp_path / "package"))
    assert done.returncode == 0, done.stderr
    calls = list(read_jsonl(tmp_path / "calls.jsonl"))
    assert calls[0] == ["imported", {"too_early": "[]"}]
    by_name = dict(calls)
    # TRL's own values, where the configuration that Unsloth puts in its place has others.
    assert by_name["config"] == {"optim": "'adamw_torch_fused'", "mask_truncated_completions": "False"}
    # Our trainer is a subclass of what Unsloth has made of TRL's, and hands its calls on.
    assert by_name["compute_loss"] == {"efficient": "None"}
    assert "has not rewritten TRL's trainer" not in done.stderr
    assert "rollout.engine: native cannot sample from Unsloth's layers" in done.stderr
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").exists()


def test_a_package_that_cannot_be_imported_is_told(random_model: Path, tmp_path: Path):
    package = tmp_path / "package"
    (package / "unsloth").mkdir(parents=True)
    (package / "unsloth" / "__init__.py").write_text("raise NotImplementedError('no accelerator was found')\n")
    done = run_train(tmp_path, random_model, package, UNSLOTH)
    assert done.returncode == 2
    assert "cannot be imported: no accelerator was found" in " ".join(done.stderr.split())
    assert not (tmp_path / "run").exists()
