"""Our decoding loop: token by token what transformers gives, and in distribution what the model says."""

from pathlib import Path

import pytest
import torch
from scipy import stats
from small_models import END, MODELS, adapted, generated, made, prompts
from transformers import LogitsProcessorList
from transformers.generation.logits_process import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from razona import tasks
from razona.data import PromptWriter
from razona.models.arithmetic import short_product
from razona.models.load import Policy, load_policy
from razona.recipe import ModelSection, PromptSection
from razona.rollout import Sampling, choose_engine, fused
from razona.rollout.native import Room, native_decode, uniforms
from razona.rollout.sampling import draw, warp


@pytest.mark.parametrize("name", MODELS)
def test_greedy_is_transformers_generate_token_by_token(name):
    model = made(name)
    asked = prompts(12)
    ours = native_decode(model, asked, ends=[END], sampling=Sampling(max_tokens=24, temperature=0), seed=0)
    assert [one.ids for one in ours] == [generated(model, prompt, 24) for prompt in asked]


@pytest.mark.parametrize("max_fused_bytes", [2**30, 0], ids=["fused", "in place"])
def test_greedy_with_an_adapter_is_transformers_generate(max_fused_bytes, monkeypatch):
    monkeypatch.setattr("razona.rollout.fused.MAX_FUSED_BYTES", max_fused_bytes)
    model = adapted(made("qwen3"))
    asked = prompts(12)
    ours = native_decode(model, asked, ends=[END], sampling=Sampling(max_tokens=24, temperature=0), seed=0)
    assert [one.ids for one in ours] == [generated(model, prompt, 24) for prompt in asked]
    with model.disable_adapter():
        plain = native_decode(model, asked, ends=[END], sampling=Sampling(max_tokens=24, temperature=0), seed=0)
        assert [one.ids for one in plain] == [generated(model, prompt, 24) for prompt in asked]
    assert [one.ids for one in plain] != [one.ids for one in ours]


@pytest.mark.slow
def test_greedy_on_500_prompts_of_the_demo_is_transformers_generate():
    policy: Policy = load_policy(ModelSection())
    writer = PromptWriter(section=PromptSection(), tokenizer=policy.tokenizer)
    problems = tasks.distinct_problems("evaluation", 500, seed=5)
    asked = policy.tokenizer([writer.write(problem) for problem in problems], add_special_tokens=False)["input_ids"]
    end = policy.tokenizer.eos_token_id
    ours = native_decode(policy.model, asked, ends=[end], sampling=Sampling(max_tokens=48, temperature=0), seed=0)
    for prompt, one in zip(asked, ours, strict=True):
        ids = torch.tensor([prompt])
        out = policy.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=48, do_sample=False)
        assert one.ids == out[0, len(prompt) :].tolist()


def test_a_hundred_thousand_draws_follow_the_models_distribution():
    model = made("qwen3")
    prompt, draws = [5, 9, 30], 100_000
    sampled = native_decode(model, [prompt] * draws, ends=[], sampling=Sampling(max_tokens=1), seed=7, max_slots=20_000)
    with torch.no_grad():
        expected = draws * model(torch.tensor([prompt])).logits[0, -1].double().softmax(-1)
    observed = torch.bincount(torch.tensor([one.ids[0] for one in sampled]), minlength=61)
    often = expected >= 5
    counts = [*observed[often].tolist(), int(observed[~often].sum())]
    wanted = [*expected[often].tolist(), float(expected[~often].sum())]
    if wanted[-1] < 5:
        counts[-2:], wanted[-2:] = [sum(counts[-2:])], [sum(wanted[-2:])]
    assert stats.chisquare(counts, wanted).pvalue > 1e-3


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_are_those_of_the_training_forward(temperature):
    model = made("qwen3")
    asked = prompts(6, copies=3)
    sampled = native_decode(
        model, asked, ends=[END], sampling=Sampling(max_tokens=20, temperature=temperature, top_k=5), seed=2
    )
    for prompt, one in zip(asked, sampled, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + one.ids])).logits[0] / temperature
        logprobs = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(1, torch.tensor(one.ids)[:, None])[:, 0]
        assert one.logprobs is not None
        assert (logprobs - torch.tensor(one.logprobs)).abs().max() < 1e-4


@pytest.mark.parametrize("max_slots", [1, 5, 16])
def test_a_rows_tokens_do_not_depend_on_which_rows_run_beside_it(max_slots):
    model = made("qwen3")
    asked = prompts(6, copies=4)
    sampling = Sampling(max_tokens=30)
    together = native_decode(model, asked, ends=[END, 7, 8, 11], sampling=sampling, seed=3)
    assert len({len(one.ids) for one in together}) > 3
    apart = native_decode(model, asked, ends=[END, 7, 8, 11], sampling=sampling, seed=3, max_slots=max_slots)
    assert [one.ids for one in apart] == [one.ids for one in together]


def test_a_completion_ends_with_its_end_or_at_the_limit():
    model = made("qwen3")
    ends = [END, 7, 8, 11, 20, 21, 22]
    sampled = native_decode(
        model, prompts(8, copies=4), ends=ends, sampling=Sampling(max_tokens=9), seed=4, max_slots=7
    )
    assert {len(one.ids) for one in sampled} >= {1, 2, 9}
    for one in sampled:
        assert not set(one.ids[:-1]) & set(ends)
        assert one.ids[-1] in ends or len(one.ids) == 9
        assert one.logprobs is not None and len(one.logprobs) == len(one.ids)


def test_equal_rows_of_a_group_draw_apart_and_equal_seeds_alike():
    model = made("qwen3")
    asked = [[5, 6, 7]] * 16
    one = native_decode(model, asked, ends=[END], sampling=Sampling(max_tokens=12), seed=0)
    assert len({tuple(row.ids) for row in one}) > 8
    assert one == native_decode(model, asked, ends=[END], sampling=Sampling(max_tokens=12), seed=0)
    assert one != native_decode(model, asked, ends=[END], sampling=Sampling(max_tokens=12), seed=1)


@pytest.mark.parametrize(
    ("sampling", "warper"),
    [
        (Sampling(max_tokens=1, top_k=5), TopKLogitsWarper(5)),
        (Sampling(max_tokens=1, top_k=500), TopKLogitsWarper(500)),
        (Sampling(max_tokens=1, top_p=0.6), TopPLogitsWarper(0.6)),
        (Sampling(max_tokens=1, top_p=1e-6), TopPLogitsWarper(1e-6)),
        (Sampling(max_tokens=1, min_p=0.2), MinPLogitsWarper(0.2)),
    ],
)
def test_the_tokens_left_out_are_those_of_transformers(sampling, warper):
    logits = 3 * torch.randn(50, 61, generator=torch.Generator().manual_seed(5))
    expected = LogitsProcessorList([warper])(torch.zeros(50, 1, dtype=torch.long), logits.clone())
    assert torch.equal(warp(logits, sampling), expected)


def test_a_draw_inverts_the_cumulative_probabilities():
    logits = torch.tensor([[0.2, 0.3, 0.5]]).log()
    for uniform, token in [(0.0, 0), (0.19, 0), (0.21, 1), (0.49, 1), (0.51, 2), (0.999999999, 2)]:
        found, logprob = draw(logits, torch.tensor([uniform], dtype=torch.float64), Sampling(max_tokens=1))
        assert found.item() == token
        assert logprob.item() == pytest.approx(logits[0, token].item(), abs=1e-6)


def test_every_row_has_a_stream_of_its_own():
    numbers = uniforms([1, 2, 1], 100)
    assert torch.equal(numbers[0], numbers[2]) and not torch.equal(numbers[0], numbers[1])
    assert ((numbers >= 0) & (numbers < 1)).all()


def test_a_model_that_is_not_covered_goes_to_transformers_with_a_reason(random_model: Path):
    model = made("qwen3")
    assert choose_engine(model, "native") == ("native", "")
    assert choose_engine(model, "transformers") == ("transformers", "")
    model.config.model_type = "gemma3"
    engine, reason = choose_engine(model, "native")
    assert engine == "transformers"
    assert "the model type 'gemma3' is not one of llama, qwen2, qwen3, mistral" in reason


def test_short_products_sample_nearly_what_long_ones_do(monkeypatch):
    rows: list[int] = []
    monkeypatch.setattr(
        fused, "short_product", lambda value, weight: (rows.append(len(value)), short_product(value, weight))[1]
    )
    model = made("qwen3")
    asked = prompts(16, copies=4)
    sampling = Sampling(max_tokens=12)
    long, short = (
        native_decode(model, asked, ends=[END], sampling=sampling, seed=0, has_short_products=is_short)
        for is_short in (False, True)
    )
    same = [(one, other) for one, other in zip(long, short, strict=True) if one.ids == other.ids]
    assert len(same) > len(asked) / 2
    gaps = [abs(a - b) for one, other in same for a, b in zip(one.logprobs, other.logprobs, strict=True)]
    assert sum(gaps) / len(gaps) < 0.02
    assert rows and min(rows) >= fused.SHORT_ROWS
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("max_slots", [None, 40, 5])
def test_rows_that_move_in_the_cache_keep_their_tokens(max_slots: int | None, monkeypatch):
    take = Room.take

    def take_unwritten(*given) -> list[torch.Tensor]:
        return [one.fill_(torch.nan) for one in take(*given)]

    monkeypatch.setattr(Room, "take", take_unwritten)
    model = made("llama")
    asked = prompts(60)
    ours = native_decode(
        model, asked, ends=[END, 7, 8, 9, 11], sampling=Sampling(max_tokens=20), seed=2, max_slots=max_slots
    )
    alone = [
        native_decode(
            model, [asked[row]] * (row + 1), ends=[END, 7, 8, 9, 11], sampling=Sampling(max_tokens=20), seed=2
        )
        for row in range(0, 60, 7)
    ]
    assert [ours[row].ids for row in range(0, 60, 7)] == [one[-1].ids for one in alone]


def test_memory_that_is_kept_changes_no_token():
    model, room = made("qwen3"), Room()
    sampling = Sampling(max_tokens=20)
    for asked in (prompts(40), prompts(7), prompts(60)):  # it suffices, is more than enough, and too small
        plain, kept = (
            native_decode(model, asked, ends=[END, 7, 8], sampling=sampling, seed=4, room=one) for one in (None, room)
        )
        assert [one.ids for one in kept] == [one.ids for one in plain]
