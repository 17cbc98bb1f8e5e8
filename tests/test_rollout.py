"""Sampling: against transformers' own generate, and against the model's distribution."""

import pytest
import torch
from scipy import stats

from razona import tasks
from razona.data import PromptWriter
from razona.models.load import Policy, load_policy
from razona.recipe import ModelSection, PromptSection
from razona.rollout import Sampling, sample


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(ModelSection())


def test_greedy_equals_transformers_generate(policy: Policy):
    problems = tasks.distinct_problems("evaluation", 24, seed=3)
    writer = PromptWriter(section=PromptSection(), tokenizer=policy.tokenizer)
    prompts = [(problem.id, writer.write(problem)) for problem in problems]
    ours = sample(
        policy.model,
        policy.tokenizer,
        prompts,
        samples=1,
        sampling=Sampling(max_tokens=32, temperature=0),
        batch_size=10,
        seed=0,
    )
    for (_, prompt), [completion] in zip(prompts, ours, strict=True):
        ids = policy.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        output = policy.model.generate(**ids, max_new_tokens=32, do_sample=False)
        expected = policy.tokenizer.decode(output[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        assert completion.text == expected


def test_first_tokens_follow_the_models_distribution(policy: Policy):
    prompt = "Q: What is 2 + 2?\nA:"
    draws = 4000
    drawn = sample(
        policy.model,
        policy.tokenizer,
        [("a", prompt)],
        samples=draws,
        sampling=Sampling(max_tokens=1),
        batch_size=1000,
        seed=1,
    )[0]
    counts: dict[str, int] = {}
    for completion in drawn:
        counts[completion.text] = counts.get(completion.text, 0) + 1
    ids = policy.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        probabilities = policy.model(**ids).logits[0, -1].softmax(-1)
    likely = [token for token in probabilities.argsort(descending=True).tolist() if probabilities[token] * draws >= 8]
    observed = [counts.get(policy.tokenizer.decode([token]), 0) for token in likely]
    expected = [probabilities[token].item() * draws for token in likely]
    observed.append(draws - sum(observed))
    expected.append(draws - sum(expected))
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_equal_seeds_give_equal_completions_and_others_do_not(policy: Policy):
    def run(seed: int) -> list[str]:
        completions = sample(
            policy.model,
            policy.tokenizer,
            [("a", "Q: What is 3 + 4?\nA:")],
            samples=8,
            sampling=Sampling(max_tokens=12),
            batch_size=4,
            seed=seed,
        )
        return [completion.text for completion in completions[0]]

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_a_completion_says_whether_the_limit_ended_it(policy: Policy):
    [[cut]] = sample(
        policy.model, policy.tokenizer, [("a", "Q:")], samples=1, sampling=Sampling(max_tokens=2), batch_size=1, seed=0
    )
    assert cut.is_truncated and cut.num_tokens == 2
