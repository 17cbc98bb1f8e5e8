"""What samples in the benchmark of sampling: our engine, and transformers' as TRL's trainer calls them."""

from collections.abc import Callable, Sequence

import torch
from transformers import GenerationConfig
from transformers.generation.configuration_utils import CompileConfig, ContinuousBatchingConfig

from razona.models.load import Policy
from razona.rollout import Room, Sampling, generate

PRODUCTS = "bf16 products"
COMPILED = "compiled"
OURS = ("ours", "ours, bf16", f"ours, {PRODUCTS}", f"ours, {COMPILED}", f"ours, {PRODUCTS}, {COMPILED}")
PLAIN = "generate"
FP32 = ("ours", PLAIN, "generate, static cache", "continuous batching")
ENGINES = (
    *FP32,
    "ours, bf16",
    f"ours, {PRODUCTS}",
    f"ours, {COMPILED}",
    f"ours, {PRODUCTS}, {COMPILED}",
    "generate, bf16",
    f"generate, {PRODUCTS}",
    f"generate, static cache, {PRODUCTS}",
    f"generate, static cache, {COMPILED}",
)

Engine = Callable[[Sequence[Sequence[int]], int, int], list[list[int]]]
"""Takes prompts, the token limit and a seed, and gives the ids sampled for each."""


def is_compiled(name: str) -> bool:
    """Say whether torch compiles an engine's forward pass in its first calls."""
    return name.endswith(COMPILED)


def our_engine(policy: Policy, ends: Sequence[int], name: str) -> Engine:
    """Give Razona's own, by one of the names `OURS`."""
    padding = policy.tokenizer.pad_token_id
    assert isinstance(padding, int)
    room = Room()  # as our trainer has it

    def run(prompts: Sequence[Sequence[int]], max_tokens: int, seed: int) -> list[list[int]]:
        sampled = generate(
            policy.model,
            prompts,
            engine="native",
            padding=padding,
            ends=ends,
            sampling=Sampling(max_tokens=max_tokens),
            seed=seed,
            has_short_products=PRODUCTS in name,
            is_compiled=is_compiled(name),
            room=room,
        )
        return [one.ids for one in sampled]

    return run


def settings_of(
    policy: Policy, ends: Sequence[int], cache: str | None, max_tokens: int, *, is_compiled: bool = False
) -> GenerationConfig:
    """Give what TRL's trainer asks transformers for; it never has it compiled."""
    compile_config = CompileConfig() if is_compiled else None
    if compile_config:
        compile_config._compile_all_devices = True  # else transformers compiles on GPUs alone
    return GenerationConfig(
        max_new_tokens=max_tokens,
        do_sample=True,
        pad_token_id=policy.tokenizer.pad_token_id,
        bos_token_id=policy.tokenizer.bos_token_id,
        eos_token_id=list(ends) or None,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        min_p=None,
        repetition_penalty=1.0,
        cache_implementation=cache,
        disable_compile=not is_compiled,
        compile_config=compile_config,
    )


def generate_engine(policy: Policy, ends: Sequence[int], cache: str | None, *, is_compiled: bool) -> Engine:
    """Give transformers' `generate`, called as TRL's trainer calls it."""
    padding = policy.tokenizer.pad_token_id
    assert isinstance(padding, int)

    def run(prompts: Sequence[Sequence[int]], max_tokens: int, seed: int) -> list[list[int]]:
        torch.manual_seed(seed)
        longest = max(map(len, prompts))
        ids = torch.tensor([[padding] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with torch.no_grad():
            out = policy.model.generate(
                input_ids=ids,  # pyright: ignore[reportCallIssue]
                attention_mask=mask,
                generation_config=settings_of(policy, ends, cache, max_tokens, is_compiled=is_compiled),
            )
        return [up_to_end(row, ends) for row in out[:, longest:].tolist()]

    return run


def up_to_end(ids: list[int], ends: Sequence[int]) -> list[int]:
    """Cut what follows the first end token."""
    return ids[: next((place + 1 for place, token in enumerate(ids) if token in ends), len(ids))]


def continuous_engine(policy: Policy, ends: Sequence[int]) -> Engine:
    """Give transformers' continuous batching, called as TRL's `use_transformers_continuous_batching` calls it."""

    def run(prompts: Sequence[Sequence[int]], max_tokens: int, seed: int) -> list[list[int]]:
        torch.manual_seed(seed)
        with torch.no_grad():
            outputs = policy.model.generate_batch(  # pyright: ignore[reportCallIssue]
                [list(prompt) for prompt in prompts],
                generation_config=settings_of(policy, ends, None, max_tokens),
                continuous_batching_config=ContinuousBatchingConfig(max_memory_percent=0.5),
                progress_bar=False,
            )
        return [output.generated_tokens for output in outputs.values()]

    return run


def precision_of(name: str) -> str:
    """Give the precision that an engine's name says; fp32 where it says none."""
    return "bfloat16" if name.endswith("bf16") else "float32"


def engine_of(name: str, policy: Policy, ends: Sequence[int]) -> Engine:
    """Give an engine by its name."""
    if name in OURS:
        return our_engine(policy, ends, name)
    if name == "continuous batching":
        return continuous_engine(policy, ends)
    cache = "static" if "static cache" in name else None
    return generate_engine(policy, ends, cache, is_compiled=is_compiled(name))
