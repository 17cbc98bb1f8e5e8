"""The parts of the check: versions, chance of signal, the tokenizer without torch, machine and lengths."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from machines import cpu

from razona.advise.checks.answers import bare_answer
from razona.advise.checks.data import _are_running_numbers
from razona.advise.checks.light_tokenizer import read_settings, read_tokenizer
from razona.advise.checks.machine import SLOTS_COMPILED, check_disk, check_memory, tell_compiling
from razona.advise.checks.prompt import ModelFacts, check_ends
from razona.advise.checks.samples import Effort, Samples, chance_of_signal, check_samples, sample_base
from razona.advise.checks.versions import Installed, check_versions, installed
from razona.advise.devices import Device
from razona.advise.shape import ModelShape, config_of
from razona.core.nouns import Completion
from razona.data import PromptWriter, load_problems
from razona.models.load import load_policy, load_tokenizer
from razona.recipe import ModelSection, load
from razona.rollout import fused
from razona.verify import Tags

UNSLOTH = {"unsloth": "2026.10.9", "trl": "1.15", "transformers": "5.17.0", "datasets": "4.8.2"}


def machine(versions: dict[str, str], *, gpu: bool = True, triton: bool = True, **ranges: str) -> Installed:
    return Installed(versions=versions, ranges=ranges, has_gpu=gpu, has_triton=triton)


@pytest.mark.parametrize(
    ("planted", "change"),
    [
        (machine(UNSLOTH), None),
        (machine(UNSLOTH | {"trl": "1.16.0"}), "pip install 'trl<=1.15'"),
        (machine(UNSLOTH | {"transformers": "5.23.0", "datasets": "5.2.0"}), "'transformers<=5.17' 'datasets<5'"),
        (machine({"trl": "1.15.0"}, gpu=False, triton=False), "pip install 'trl>=1.16,<1.17'"),
        (machine({"trl": "1.15.0"}, gpu=False, triton=True), None),
        (machine({"trl": "1.15.0"}, gpu=True, triton=False), None),
        (machine({"trl": "1.16.0"}, gpu=False, triton=False), None),
        (machine({"torch": "2.14.0"}, torch=">=2.11,<2.14"), "pip install 'torch>=2.11,<2.14'"),
        (machine({"torch": "2.13.0+cpu"}, torch=">=2.11,<2.14"), None),
        (machine({}, peft=">=0.19"), "pip install 'peft>=0.19'"),
    ],
)
def test_versions_that_do_not_fit_are_found_with_what_to_install(planted: Installed, change: str | None):
    found = list(check_versions(planted))
    assert [one.rule for one in found] == ["incompatible-versions"] * (change is not None)
    if change is not None:
        assert change in found[0].change


def test_what_is_installed_here_fits_and_has_ranges():
    here = installed()
    assert set(here.ranges) >= {"torch", "trl", "transformers", "peft"}
    assert list(check_versions(here)) == []


@pytest.mark.parametrize(
    ("rewards", "group", "expected"),
    [
        ([1.0, 0.0], 2, 1.0),
        ([1.0, 0.0, 0.0, 0.0], 2, 0.5),  # 3 of the 6 pairs hold the right one
        ([1.0, 0.0, 0.0, 0.0], 4, 1.0),
        ([1.0, 1.0, None, None], 2, 0.0),
        ([None, None], 2, 0.0),
        ([0.0, 1.0, 1.2], 2, 1.0),
        ([1.0, 0.0, 0.0, 0.0], 8, 1 - 0.25**8 - 0.75**8),  # more than there are: the plug-in formula
    ],
)
def test_the_chance_of_signal(rewards: list[float | None], group: int, expected: float):
    assert math.isclose(chance_of_signal(rewards, group), expected)


def test_running_numbers_are_ids_and_answers_are_not():
    assert _are_running_numbers(["q-3", "q-1", "q-2"]) and _are_running_numbers(["0", "2", "1"])
    assert not _are_running_numbers(["3", "4", "5"]) and not _are_running_numbers(["1", "2", "2"])
    assert not _are_running_numbers(["1/2", "1/3"])


def test_a_boxed_target_is_written_as_what_is_in_the_box():
    assert bare_answer(r"Thus \boxed{\frac{1}{2}}.", Tags()) == r"\frac{1}{2}"
    assert bare_answer("x^2", Tags()) == "x^2"


def test_the_tokenizer_without_torch_writes_and_counts_what_transformers_does():
    recipe = load("demo")
    light, real = read_tokenizer(recipe.model), load_tokenizer(recipe.model)
    assert light is not None and (light.eos_token, light.eos_token_id) == (real.eos_token, real.eos_token_id)
    problems = load_problems(recipe.data, count=8, seed=0)
    for template in (None, "{% for m in messages %}\n  {{ m.content | tojson }}\n{% endfor %}{{ eos_token }}"):
        section = recipe.prompt.model_copy(update={"chat_template": template})
        writers = [PromptWriter(section=section, tokenizer=one) for one in (light, real)]  # pyright: ignore
        prompts = [[writer.write(problem) for problem in problems] for writer in writers]
        assert prompts[0] == prompts[1]
        assert writers[0].count_tokens(prompts[0]) == writers[1].count_tokens(prompts[0])


CHATML = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>\n{% endfor %}"


@pytest.mark.parametrize(
    ("template", "generation", "expected"),
    [
        (None, {}, []),
        (CHATML, {}, ["<|im_end|>"]),
        (CHATML.replace("<|im_end|>", "{{ eos_token }}"), {}, []),
        (None, {"eos_token_id": [5, 6]}, ["other programs only at the model's"]),
        (None, {"eos_token_id": [5, 0]}, []),
    ],
)
def test_what_ends_a_turn_must_end_the_sampling(template: str | None, generation: dict, expected: list[str]):
    section = ModelSection()
    tokenizer = read_tokenizer(section)
    assert tokenizer is not None
    facts = ModelFacts.of(tokenizer, read_settings(section, "config.json"), generation)
    told = [one.saw for one in check_ends(facts, tokenizer, template)]
    assert len(told) == len(expected) and all(part in saw for part, saw in zip(expected, told, strict=True))


def samples(rewards: list[list[float]], *, cut: int = 0, long: tuple[int, ...] = ()) -> Samples:
    """Give made-up samples: right where the reward is over 0, the first `cut` of each row cut off."""
    rows = [
        [Completion(problem_id=str(p), text="", num_tokens=9, is_truncated=k < cut) for k in range(len(row))]
        for p, row in enumerate(rewards)
    ]
    return Samples(
        completions_PK=tuple(map(tuple, rows)),
        rewards_PK=tuple(map(tuple, rewards)),
        correct_PK=tuple(tuple(reward > 0 for reward in row) for row in rewards),
        limit=9,
        long_lengths=long,
        seconds=0.0,
    )


NEVER, ALWAYS, HALF = [0.0] * 8, [1.0] * 8, [0.0] * 4 + [1.0] * 4


@pytest.mark.parametrize(
    ("made", "rules"),
    [
        (samples([HALF] * 4), []),
        (samples([NEVER] * 4), ["flat-reward"]),
        (samples([NEVER] * 9 + [HALF]), ["no-signal"]),
        (samples([ALWAYS] * 9 + [HALF]), ["no-signal", "too-easy"]),
        (samples([HALF] * 4, cut=3), ["truncation"]),
        (samples([HALF] * 4, cut=5, long=(20,) * 16), ["limit-below-median"]),
    ],
)
def test_what_samples_show_is_found(made: Samples, rules: list[str]):
    assert [one.rule for one in check_samples(load("demo"), made)] == rules


def test_a_pair_is_called_small_where_a_larger_group_would_have_signal():
    recipe = load("demo", ["rollout.group_size=2", "train.completions_per_step=64"])
    row = [1.0] + [0.0] * 7  # 7 of the 28 pairs have signal, and the group of 8 always
    found = {one.rule: one.saw for one in check_samples(recipe, samples([row] * 4))}
    assert "groups of 2 have signal in 25%" in found["group-size"] and "100%" in found["group-size"]


def test_sampling_beyond_the_budget_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch):
    recipe = load("demo")
    problems = load_problems(recipe.data, count=2, seed=0)
    made, reason = sample_base(recipe, load_policy(recipe.model), problems, Effort(num_problems=2, budget_s=1e-9))
    assert made is None and "--samples N" in reason


def test_sampling_leaves_every_random_state_as_it_was():
    import random

    import numpy as np
    import torch

    recipe = load("demo", ["rollout.engine=transformers"])
    policy = load_policy(recipe.model)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    made, _ = sample_base(recipe, policy, load_problems(recipe.data, count=2, seed=0), Effort(num_problems=2))
    assert made is not None and len(made.flat) == 16
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_too_little_memory_and_too_little_disk_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    recipe = load("demo")
    shape = ModelShape.of_config(config_of(recipe.model))
    tiny = Device(name="tiny", kind="cpu", memory=2**20, bf16_flop_s=1e9, bandwidth=1e9, source="planted")
    assert [one.rule for one in check_memory(recipe, shape, tiny, 1)] == ["memory"]
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=2**20))
    finding = next(check_disk(recipe, shape, tmp_path / "runs" / "new"))
    assert finding.rule == "disk" and "4 checkpoints" in finding.saw


def test_compiling_is_named_where_it_saves_minutes_and_nowhere_else():
    shape = ModelShape.of_config(config_of(load("demo").model))

    def told(*changes: str, device: Device = cpu(is_short=True), shape: ModelShape = shape) -> str | None:
        return tell_compiling(load("demo", ["train.steps=20000", *changes]), shape, device, 1)

    assert "--set rollout.compile=true would save up to" in (told() or "")
    assert SLOTS_COMPILED == fused.SHORT_ROWS
    assert told("train.steps=40") is None
    assert told("rollout.compile=true") is None
    assert told("rollout.engine=transformers") is None
    assert told("rollout.max_slots=32") is None
    assert told("train.precision=float32") is None
    assert told(device=cpu(is_short=False)) is None
    assert told(shape=replace(shape, layers=400)) is None
