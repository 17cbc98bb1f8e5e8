"""Sampling one completion token by token, for someone who reads along.

A plain loop over the model's own forward with a cache: any causal language model will do, with or without an adapter.
Where many completions are wanted at a time, `razona.rollout.engine` is the faster way.
"""

# Shapes: T tokens, V vocabulary; the batch has one row.

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from peft import PeftModel
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from razona.rollout.sampling import Sampling, draw

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer writes for the bytes of a character whose other bytes are in tokens to come."""


def stream(
    model: PreTrainedModel | PeftModel,
    prompt: Sequence[int],
    *,
    ends: Sequence[int],
    sampling: Sampling,
    seed: int,
    is_adapter_on: bool = True,
) -> Iterator[int]:
    """Give the ids of one completion as they are drawn, the end-of-text id last where it is drawn.

    Args:
        prompt: token ids, at least one.
        ends: ids that end the completion.
        seed: equal seeds on an equal machine give equal completions.
        is_adapter_on: False: a model with an adapter answers as its base would.
    """
    assert is_adapter_on or isinstance(model, PeftModel)
    generator = torch.Generator().manual_seed(seed)
    cache = DynamicCache(config=model.config)
    ids_1T = torch.tensor([list(prompt)], device=model.device)
    was_training = model.training
    model.eval()
    try:
        for _ in range(sampling.max_tokens):
            with torch.no_grad(), _adapter(model, is_adapter_on):
                output = model(ids_1T, past_key_values=cache, use_cache=True, logits_to_keep=1)
            logits_1V = output.logits[:, -1].float()
            uniform_1 = torch.rand(1, generator=generator, dtype=torch.float64).to(logits_1V.device)
            next_1, _ = draw(logits_1V, uniform_1, sampling)
            token = int(next_1)
            yield token
            if token in ends:
                return
            ids_1T = next_1[:, None]
    finally:
        model.train(was_training)


def _adapter(model: PreTrainedModel | PeftModel, is_on: bool) -> AbstractContextManager:
    """Leave the adapter on, or switch it off for one forward pass: between two passes the model is as it was."""
    return model.disable_adapter() if not is_on and isinstance(model, PeftModel) else nullcontext()


@dataclass(slots=True)
class Spelling:
    """Turns ids that come one by one into text that comes piece by piece.

    A piece is what the text of all ids so far has more than before; bytes of an unfinished character wait. The few
    tokens before a new one are decoded with it, because many tokenizers write a token differently at the beginning.
    """

    tokenizer: PreTrainedTokenizerBase
    _ids: list[int] = field(default_factory=list)
    _context: int = 0
    """Where decoding starts."""
    _told: int = 0
    """How many ids have been told as text."""

    def add(self, token: int) -> str:
        """Give the text that this id completes; "" where it completes none."""
        self._ids.append(token)
        piece = self._rest()
        if not piece or piece.endswith(UNFINISHED):
            return ""
        self._context, self._told = self._told, len(self._ids)
        return piece

    def end(self) -> str:
        """Give what still waits when nothing more comes."""
        piece, self._context, self._told = self._rest(), len(self._ids), len(self._ids)
        return piece

    def _rest(self) -> str:
        before = self._decode(self._ids[self._context : self._told])
        return self._decode(self._ids[self._context :])[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        assert isinstance(text, str)
        return text
