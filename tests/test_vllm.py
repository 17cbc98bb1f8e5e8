"""vLLM through TRL: the recipe's fields, what is refused, and a run with an engine of ours in vLLM's place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from trl.trainer import grpo_trainer

from razona.core.errors import MachineError, RecipeError
from razona.core.files import read_jsonl
from razona.recipe import load
from razona.rollout import Sampling, generate
from razona.train import delegated, loading, train
from razona.train.delegated import as_sampled, check_vllm_here, supported_vllm
from razona.train.trl_config import grpo_config

VLLM = "rollout.engine=vllm"
SMALL = (
    "train.steps=2",
    "train.completions_per_step=16",
    "train.microbatch_size=8",
    "train.warmup_steps=0",
    "train.sampling=uniform",
    "train.precision=float32",
    "rollout.group_size=4",
    "rollout.max_completion_tokens=16",
    "rewards.mix=sum",
    "rewards.components=[{name: random}]",
    "guard.every=0",
)

# --- From the recipe to TRL ------------------------------------------------------------------------------------------


def fields_of(tmp_path: Path, *changes: str, max_length: int | None = None):
    return grpo_config(load("demo", [VLLM, *changes]), tmp_path, is_packed=True, max_length=max_length)


def test_every_key_of_the_section_reaches_trls_field(tmp_path: Path):
    colocate = "{gpu_memory_utilization: 0.45, tensor_parallel_size: 2, enable_sleep_mode: true}"
    config = fields_of(tmp_path, f"rollout.vllm={colocate}", "model.trust_remote_code=true", max_length=777)
    assert config.use_vllm and config.vllm_mode == "colocate"
    assert config.vllm_gpu_memory_utilization == 0.45 and config.vllm_tensor_parallel_size == 2
    assert config.vllm_enable_sleep_mode and config.vllm_max_model_length == 777
    assert config.trust_remote_code
    config = fields_of(tmp_path, "rollout.vllm={mode: server, server_host: gpu7, server_port: 8123}")
    assert (config.vllm_mode, config.vllm_server_host, config.vllm_server_port) == ("server", "gpu7", 8123)
    assert not config.trust_remote_code and config.vllm_max_model_length is None


@pytest.mark.parametrize("mode", ["token_mask", "token_truncate", "sequence_mask", "sequence_truncate"])
def test_a_correction_is_trls_mode_and_none_switches_it_off(mode: str, tmp_path: Path):
    config = fields_of(tmp_path, f"rollout.vllm={{correction: {mode}}}")
    assert config.vllm_importance_sampling_correction and config.vllm_importance_sampling_mode == mode
    assert not fields_of(tmp_path, "rollout.vllm={correction: none}").vllm_importance_sampling_correction


def test_without_the_section_trls_own_defaults_hold(tmp_path: Path):
    from trl import GRPOConfig

    plain, ours = GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False), fields_of(tmp_path)
    names = [
        name for name in GRPOConfig.__dataclass_fields__ if name.startswith("vllm_") and name != "vllm_max_model_length"
    ]
    assert len(names) >= 14
    assert {name: getattr(ours, name) for name in names} == {name: getattr(plain, name) for name in names}


def test_other_engines_leave_vllm_off(tmp_path: Path):
    assert not grpo_config(load("demo"), tmp_path, is_packed=True, max_length=99).use_vllm


# --- What does not go together ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["rollout.vllm={mode: server}"], "rollout.engine = native does not read it"),
        ([VLLM, "rollout.max_slots=8"], "max_slots = 8 bounds `native` alone"),
        ([VLLM, "rollout.compile=true"], "compile: true compiles a step of our own engine"),
        ([VLLM, "rollout.vllm={server_port: 9000}"], "server_port = 9000 is only read with rollout.vllm.mode: server"),
        (
            [VLLM, "rollout.vllm={mode: server, tensor_parallel_size: 4}"],
            "tensor_parallel_size = 4 is only read with rollout.vllm.mode: colocate",
        ),
        ([VLLM, "train.loss_type=vespo"], "vespo weighs tokens"),
        ([VLLM, "rollout.top_p=0.95"], "a long one teaches nothing"),
        ([VLLM, "rollout.top_k=20"], "Switch off top_k"),
        ([VLLM, "rollout.min_p=0.1", "rollout.vllm={correction: sequence_truncate}"], "token_truncate"),
        ([VLLM, "model.revision=main"], "without model.revision = main"),
        ([VLLM, "rollout.vllm={gpu_memory_utilization: 1.5}"], "gpu_memory_utilization"),
    ],
)
def test_what_vllm_would_not_do_is_refused_by_name(changes: list[str], words: str):
    with pytest.raises(RecipeError, match=words.replace("(", r"\(")):
        load("demo", changes)


@pytest.mark.parametrize(
    "changes",
    [
        ["rollout.top_p=0.95", "rollout.vllm={correction: token_truncate}"],
        ["rollout.min_p=0.1", "rollout.vllm={correction: none}"],
        ["train.loss_type=vespo", "rollout.vllm={correction: token_mask}"],
    ],
)
def test_the_ways_out_that_a_refusal_names_are_open(changes: list[str]):
    assert load("demo", [VLLM, *changes]).rollout.engine == "vllm"


# --- The machine -----------------------------------------------------------------------------------------------------


def test_the_versions_are_those_that_the_installed_trl_names():
    # trl/import_utils.py of 1.16 compares with 0.22.0 and 0.31.0, that of 1.15 with 0.21.0 and 0.31.0.
    assert all(supported_vllm().contains(number) for number in ("0.22.0", "0.31.0"))
    assert not any(supported_vllm().contains(number) for number in ("0.20.2", "0.31.1", "0.33.0"))


def test_a_missing_vllm_is_told_with_versions_and_command(tmp_path: Path):
    recipe = load("demo", [VLLM, *SMALL])
    with pytest.raises(MachineError, match=r'needs the package vllm.*<=0\.31\.0.*pip install "razona\[vllm\]"'):
        train(recipe, tmp_path / "run")


def fake_machine(monkeypatch: pytest.MonkeyPatch, *, vllm: str, has_gpu: bool) -> None:
    real = delegated.version
    monkeypatch.setattr(delegated, "version", lambda name: vllm if name == "vllm" else real(name))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)


@pytest.mark.parametrize(
    ("vllm", "has_gpu", "words"),
    [
        ("0.33.0", True, "vllm 0.33.0 is installed, and TRL"),
        ("0.31.0+cu130", False, "needs an NVIDIA GPU in the training process"),
        ("0.31.0", False, "needs an NVIDIA GPU"),
    ],
)
def test_a_version_out_of_range_and_a_missing_gpu_are_told(vllm, has_gpu, words, monkeypatch):
    fake_machine(monkeypatch, vllm=vllm, has_gpu=has_gpu)
    with pytest.raises(MachineError, match=words.replace(".", r"\.")):
        check_vllm_here(load("demo", [VLLM]), 1)


INFORMATIVE = "train.sampling=informative"


@pytest.mark.parametrize(
    ("changes", "processes", "words"),
    [
        (["rollout.vllm={tensor_parallel_size: 2}"], 3, "does not divide the 3 processes"),
        (["rollout.vllm={mode: server}", INFORMATIVE], 2, "one would wait for ever"),
        (["rollout.vllm={tensor_parallel_size: 2}", INFORMATIVE], 2, "one would wait for ever"),
        (["rollout.vllm={tensor_parallel_size: 2}", "train.sampling=uniform"], 4, ""),
        (["rollout.vllm={mode: server}", INFORMATIVE], 1, ""),
        ([INFORMATIVE], 2, ""),
    ],
)
def test_processes_that_would_wait_for_each_other_are_refused(changes, processes, words, monkeypatch):
    fake_machine(monkeypatch, vllm="0.31.0", has_gpu=True)
    recipe = load("demo", [VLLM, *changes])
    if not words:
        check_vllm_here(recipe, processes)
        return
    with pytest.raises(RecipeError, match=words):
        check_vllm_here(recipe, processes)


# --- A run with our own engine in vLLM's place -----------------------------------------------------------------------


@dataclass
class Calls:
    """What TRL asked of the engine."""

    made_with: dict = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    weights: list[torch.Tensor] = field(default_factory=list)
    prompts: list[list[list[int]]] = field(default_factory=list)
    num_generations: list[int] = field(default_factory=list)
    offset: float = 0.0
    """Added to each log-prob, as if vLLM's kernels computed other ones."""


def stand_in(calls: Calls):
    """Give a class with the methods of TRL's `VLLMGeneration` that samples with our engine, on the CPU."""

    class FakeGeneration:
        def __init__(self, **kwargs):
            self.kwargs = kwargs
            calls.made_with = kwargs

        def sync_weights(self):
            calls.log.append("sync")
            self.frozen = {name: part.detach().clone() for name, part in self.kwargs["model"].named_parameters()}
            calls.weights.append(next(part for name, part in self.frozen.items() if "lora_B" in name))

        def generate(self, prompts, images, num_generations, profiler=None):
            assert images is None
            calls.log.append("generate")
            calls.prompts.append(prompts)
            calls.num_generations.append(num_generations)
            model = self.kwargs["model"]
            model.eval()
            sampled = generate(
                model,
                prompts,
                engine="native",
                padding=0,
                ends=[self.kwargs["processing_class"].eos_token_id],
                sampling=Sampling(
                    max_tokens=self.kwargs["max_completion_length"], temperature=self.kwargs["temperature"]
                ),
                seed=len(calls.log),
            )
            model.train()
            logprobs = [[[value + calls.offset] for value in one.logprobs or ()] for one in sampled]
            logprobs[0][0] = [None]  # as vLLM does where it has none
            return prompts, [one.ids for one in sampled], logprobs, None

    return FakeGeneration


def run_with(calls: Calls, monkeypatch, tmp_path: Path, *changes: str):
    monkeypatch.setattr(grpo_trainer, "VLLMGeneration", stand_in(calls))
    monkeypatch.setattr(loading, "check_vllm_here", lambda recipe, processes: None)
    return train(load("demo", [VLLM, *SMALL, *changes]), tmp_path / "run")


def stored(result, step: int) -> list[dict]:
    return list(read_jsonl(result.run.completions(step)))


@pytest.fixture(scope="module")
def uniform(tmp_path_factory: pytest.TempPathFactory):
    calls = Calls()
    with pytest.MonkeyPatch.context() as patch:
        result = run_with(calls, patch, tmp_path_factory.mktemp("vllm"))
    return calls, result


def test_weights_are_sent_once_a_step_and_have_moved(uniform):
    calls, _ = uniform
    assert calls.log == ["sync", "generate"] * 2
    assert calls.weights[0].abs().max() == 0  # an adapter begins as nothing
    assert calls.weights[1].abs().max() > 0


def test_vllm_is_asked_for_whole_groups_in_the_runs_order(uniform):
    calls, result = uniform
    assert calls.num_generations == [4, 4]
    for number, prompts in enumerate(calls.prompts):
        assert len(prompts) == 16
        assert [prompts[0]] * 4 == prompts[:4] and prompts[0] != prompts[4]
        rows = stored(result, number + 1)
        assert len({row["prompt"] for row in rows}) == len({tuple(one) for one in prompts}) == 4


def test_vllm_is_made_for_the_longest_text_of_the_run(uniform):
    calls, _ = uniform
    longest = max(len(ids) for prompts in calls.prompts for ids in prompts)
    assert calls.made_with["max_model_length"] >= longest + 16
    assert calls.made_with["gpu_memory_utilization"] == 0.3 and calls.made_with["mode"] == "colocate"
    assert calls.made_with["max_num_seqs"] == 16


def test_every_completion_is_stored_with_its_verdict_and_reward(uniform):
    _, result = uniform
    for step in (1, 2):
        rows = stored(result, step)
        assert len(rows) == 16 and all(row["is_trained"] and row["outcome"] for row in rows)
        for start in range(0, 16, 4):
            group = [row["reward"] for row in rows[start : start + 4]]
            mean = sum(group) / 4
            for row in rows[start : start + 4]:
                assert math.copysign(1, row["advantage"]) == math.copysign(1, row["reward"] - mean)


def test_the_figures_of_a_step_are_there_with_the_gap_to_vllms_logprobs(uniform):
    _, result = uniform
    rows = result.run.read_steps()
    assert len(rows) == 2
    for row in rows:
        assert row["logprob_gap_mean"] < 1e-4  # the same weights, by two ways through our code; a NaN would be null
        assert row["importance_ratio_mean"] == pytest.approx(1, abs=1e-3)
        assert row["seconds/sampling"] > 0 and row["grad_norm"] > 0 and row["reward"] is not None


def losses_with(offset: float, correction: str, monkeypatch, tmp_path: Path) -> list[float]:
    folder = tmp_path / f"{correction}{offset}"
    changes = [f"rollout.vllm={{correction: {correction}}}", "train.steps=1"]
    result = run_with(Calls(offset=offset), monkeypatch, folder, *changes)
    return [row["grad_norm"] for row in result.run.read_steps()]


def test_the_gradient_is_weighted_by_the_distance_to_vllm(monkeypatch, tmp_path: Path):
    (plain,) = losses_with(0.0, "token_truncate", monkeypatch, tmp_path)
    # vLLM says e^0.5 times as likely: each token weighs e^-0.5, but for the one without a log-prob, which weighs 1.
    (weighted,) = losses_with(0.5, "token_truncate", monkeypatch, tmp_path)
    assert weighted == pytest.approx(plain * math.exp(-0.5), rel=0.02)
    (uncorrected,) = losses_with(0.5, "none", monkeypatch, tmp_path)
    assert uncorrected == pytest.approx(plain, rel=1e-4)


def test_informative_sampling_asks_vllm_again_within_a_step(monkeypatch, tmp_path: Path):
    calls = Calls()
    changes = ("train.sampling=informative", "rewards.components=[{name: correct}]", "train.steps=1")
    result = run_with(calls, monkeypatch, tmp_path, *changes)
    rows = stored(result, 1)
    assert calls.log == ["sync", *["generate"] * (1 + max(row["round"] for row in rows))]
    assert max(row["round"] for row in rows) == 2  # this base answers nearly nothing in 16 tokens
    assert sum(row["is_trained"] for row in rows) == 16 < len(rows)


def test_what_trl_sampled_is_told_at_once_and_an_unknown_logprob_is_nan():
    told: list[tuple[Sequence[int], Sequence[Sequence[int]]]] = []
    first, second = as_sampled([(5, 6), [7]], [[-0.5, None], [-1.0]], lambda *news: told.append(news))
    assert told == [([0, 1], [[5, 6], [7]])]
    assert first.ids == [5, 6] and first.logprobs is not None
    assert first.logprobs[0] == -0.5 and math.isnan(first.logprobs[1])
    assert second.logprobs == [-1.0]
    assert as_sampled([[1]], None, lambda *news: None)[0].logprobs is None
