"""Sampling behind one function: our engine where it knows the model, transformers' forward for any other.

What TRL samples while it trains (vLLM, Unsloth's generate) does not go through here: `razona.train.trainer`.
"""

from collections.abc import Callable, Sequence

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from razona.core.nouns import Completion
from razona.core.seeds import derive_seed
from razona.models.unsloth import is_rewritten
from razona.rollout.fused import unsupported_reason
from razona.rollout.generate_engine import decode_with_generate
from razona.rollout.native import OnFinished, Room, Sampled, native_decode
from razona.rollout.sampling import Sampling
from razona.rollout.transformers_engine import decode

ROWS_PER_CALL = 8
"""Batches of an evaluation that our engine takes at a time: rows that wait fill the places of those that are done."""


def choose_engine(model: PreTrainedModel | PeftModel, wanted: str) -> tuple[str, str]:
    """Give the engine that will sample, and why it is another than the one asked for; "" where it is not."""
    if is_rewritten(model):
        return "generate", f"rollout.engine: {wanted} cannot sample from Unsloth's layers; its own generate does"
    if wanted in ("transformers", "vllm"):
        return wanted, ""
    reason = unsupported_reason(model)
    if not reason:
        return "native", ""
    return "transformers", f"rollout.engine: native cannot sample from this model ({reason}); transformers does"


def generate(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Sequence[int]],
    *,
    engine: str,
    padding: int,
    ends: Sequence[int],
    sampling: Sampling,
    seed: int,
    max_slots: int | None = None,
    has_short_products: bool = False,
    is_compiled: bool = False,
    room: Room | None = None,
    on_finished: OnFinished | None = None,
) -> list[Sampled]:
    """Sample a completion of each prompt, in order.

    Args:
        prompts: token ids, one entry a completion.
        engine: as `choose_engine` gave it.
        max_slots: rows that run at a time with `native`; None: all. The others run all at once.
        has_short_products: with `native`, large products of fp32 matrices are in bf16.
        is_compiled: with `native`, torch compiles the decoding step; the others do not know it.
        room: with `native`, keeps memory for the next call.
        on_finished: told of rows as they are done; by the other engines of all of them at the end.
    """
    if engine == "native":
        return native_decode(
            model,
            prompts,
            ends=ends,
            sampling=sampling,
            seed=seed,
            max_slots=max_slots,
            has_short_products=has_short_products,
            is_compiled=is_compiled,
            room=room,
            on_finished=on_finished,
        )
    if engine == "generate":
        tokens = decode_with_generate(model, prompts, padding=padding, ends=ends, sampling=sampling, seed=seed)
    else:
        with torch.no_grad():
            tokens = decode(
                model,
                prompts,
                padding=padding,
                ends=ends,
                sampling=sampling,
                generator=torch.Generator(device=model.device).manual_seed(seed),
            )
    if on_finished is not None:
        on_finished(list(range(len(tokens))), tokens)
    return [Sampled(ids=ids, logprobs=None) for ids in tokens]


def sample(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[tuple[str, str]],
    *,
    samples: int,
    sampling: Sampling,
    batch_size: int,
    seed: int,
    on_batch: Callable[[int], None] = lambda done: None,
) -> list[list[Completion]]:
    """Give `samples` completions of each request, in the order of the requests.

    Batches are sorted by prompt length. The seed of a batch is hashed from `seed` and its place, so equal
    arguments on equal hardware give equal completions.

    Args:
        requests: (problem id, prompt) pairs.
        batch_size: completions that run at a time.
        on_batch: called with the number of completions that each batch finished.
    """
    encoded = tokenizer([prompt for _, prompt in requests], add_special_tokens=False)["input_ids"]
    rows = [(index, copy) for index in range(len(requests)) for copy in range(samples)]
    rows.sort(key=lambda row: len(encoded[row[0]]))
    padding, ends = tokenizer.pad_token_id, end_ids(model, tokenizer)
    assert isinstance(padding, int)
    engine, _ = choose_engine(model, "native")
    step = batch_size * (ROWS_PER_CALL if engine == "native" else 1)
    finished: list[list[Completion]] = [[] for _ in requests]
    was_training = model.training
    model.eval()
    for start in range(0, len(rows), step):
        batch = rows[start : start + step]
        sampled = generate(
            model,
            [encoded[index] for index, _ in batch],
            engine=engine,
            padding=padding,
            ends=ends,
            sampling=sampling,
            seed=derive_seed("sample", seed, start),
            max_slots=batch_size,
        )
        for (index, _), one in zip(batch, sampled, strict=True):
            finished[index].append(_completion(tokenizer, requests[index][0], one.ids, ends))
        on_batch(len(batch))
    model.train(was_training)
    return finished


def end_ids(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Give the ids that end a completion: the tokenizer's, and those of the model's generation settings."""
    settings = getattr(model.generation_config, "eos_token_id", None)
    named = settings if isinstance(settings, list) else [settings]
    return sorted({token for token in (tokenizer.eos_token_id, *named) if isinstance(token, int)})


def _completion(tokenizer: PreTrainedTokenizerBase, problem_id: str, ids: list[int], ends: list[int]) -> Completion:
    ended = bool(ids) and ids[-1] in ends
    text = tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=True)
    assert isinstance(text, str)
    return Completion(problem_id=problem_id, text=text, num_tokens=len(ids), is_truncated=not ended)
