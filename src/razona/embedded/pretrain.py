"""Pretraining the embedded base model from nothing, on the project's own text, deterministically."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from razona.embedded.corpus import documents
from razona.models.arithmetic import BLOCK_ROWS, short_products, wants_short_products
from razona.train.attention import Bucket, Layout, install, part_of

DOCUMENTS_PER_SHARD = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainSettings:
    """What a build is made of; two builds with equal settings on equal hardware give equal weights."""

    seed: int = 0
    steps: int = 16_800
    """Optimizer updates, in two rounds of half of them each. The learning rate rises and falls in each round."""
    sequences_per_step: int = 16
    sequence_tokens: int = 160
    """Tokens a sequence: documents one after the other, each followed by the end-of-text mark."""
    hidden_size: int = 192
    layers: int = 4
    heads: int = 6
    key_value_heads: int = 2
    head_dim: int = 32
    mlp_size: int = 640
    learning_rate: float = 2.5e-3
    """AdamW's peak."""
    weight_decay: float = 0.05
    warmup_steps: int = 100
    decay_share: float = 0.3
    """Share of the steps, at the end, over which the learning rate falls to nothing."""
    vocabulary_size: int = 1024
    tokenizer_documents: int = 20_000

    @property
    def steps_per_round(self) -> int:
        """Optimizer updates of one round."""
        return max(1, self.steps // 2)

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one optimizer update reads."""
        return self.sequences_per_step * self.sequence_tokens


def make_model(settings: PretrainSettings, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """Give a Qwen3 with random weights, tied embeddings, and the ids of this tokenizer."""
    torch.manual_seed(settings.seed)
    end, padding = tokenizer.eos_token_id, tokenizer.pad_token_id
    assert isinstance(end, int) and isinstance(padding, int)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.mlp_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.key_value_heads,
        head_dim=settings.head_dim,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=end,
        pad_token_id=padding,
        bos_token_id=None,
    )
    config.dtype = torch.float32
    return Qwen3ForCausalLM(config)


class TokenStream:
    """The corpus as one endless row of token ids, made shard by shard."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int, first_document: int) -> None:
        self.tokenizer, self.seed = tokenizer, seed
        self.next_document = first_document
        self.buffer = np.empty(0, dtype=np.int64)

    def take(self, count: int) -> np.ndarray:
        """Give the next `count` token ids."""
        while len(self.buffer) < count:
            texts = list(documents(self.seed, self.next_document, DOCUMENTS_PER_SHARD))
            self.next_document += len(texts)
            end = self.tokenizer.eos_token_id
            encoded = self.tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            shard = np.concatenate([np.array([*encoding.ids, end]) for encoding in encoded])
            self.buffer = np.concatenate([self.buffer, shard])
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken


def learning_rate_share(step: int, total: int | None, settings: PretrainSettings) -> float:
    """Give the learning rate as a share of its peak: a linear rise, a plateau, a linear fall to the end.

    Args:
        total: updates of the round; None while that is not decided yet, which is before the fall.
    """
    rise = (step + 1) / settings.warmup_steps
    fall = 1.0 if total is None else (total - step) / (settings.decay_share * total)
    return min(1.0, rise, fall)


def make_optimizer(model: Qwen3ForCausalLM, settings: PretrainSettings) -> torch.optim.AdamW:
    """Give AdamW, with weight decay on the matrices only."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim != 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95), fused=True)


@cache
def rows_layout(settings: PretrainSettings) -> Layout:
    """Give the layout of a step's sequences, one after the other: each sees itself alone."""
    count, width, device = settings.sequences_per_step, settings.sequence_tokens, torch.device("cpu")
    own_CC = torch.ones(width, width, dtype=torch.bool).tril()
    bucket = Bucket(
        part=part_of([range(row * width, (row + 1) * width) for row in range(count)], device),
        prompt_R=torch.zeros(count, dtype=torch.long),
        mask_R1CS=own_CC.expand(count, 1, -1, -1),
    )
    return Layout(prompts=part_of([range(0)], device), buckets=(bucket,))


class ChunkedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of x W^T and labels, a few rows at a time: the logits never lie in memory as a whole."""

    @staticmethod
    def forward(
        ctx: Any, value_TE: torch.Tensor, weight_VE: torch.Tensor, labels_T: torch.Tensor, is_short: bool
    ) -> torch.Tensor:
        """Compute the loss, and its gradients with it: they need the same logits."""
        of_value_TE, of_weight_VE = torch.empty_like(value_TE), torch.zeros_like(weight_VE)
        total = value_TE.new_zeros(())
        parts = (value_TE.split(BLOCK_ROWS), labels_T.split(BLOCK_ROWS), of_value_TE.split(BLOCK_ROWS))
        with short_products(is_short):
            for value, labels, of_value in zip(*parts, strict=True):
                logits = value @ weight_VE.T
                own = logits.gather(1, labels[:, None])
                greatest = logits.max(dim=1, keepdim=True).values
                chance = logits.sub_(greatest).exp_()
                mass = chance.sum(dim=1, keepdim=True)
                total += (mass.log() + greatest - own).sum()
                of_logits = chance.div_(mass).scatter_add_(1, labels[:, None], chance.new_full((len(labels), 1), -1.0))
                torch.mm(of_logits, weight_VE, out=of_value)
                of_weight_VE.addmm_(of_logits.T, value)
        ctx.save_for_backward(of_value_TE, of_weight_VE)
        ctx.count = len(labels_T)
        return total / ctx.count

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        """Give the gradients of value and weight."""
        of_value_TE, of_weight_VE = ctx.saved_tensors
        share = gradient / ctx.count
        return of_value_TE * share, of_weight_VE * share, None, None


def next_token_loss(
    model: Qwen3ForCausalLM, tokens_T: torch.Tensor, settings: PretrainSettings, *, is_short: bool
) -> torch.Tensor:
    """Give the cross-entropy of every token of a step's sequences but their first ones, in nats.

    Args:
        model: patched by `razona.train.attention.install`.
        tokens_T: the sequences one after the other.
    """
    places_T = torch.arange(settings.tokens_per_step) % settings.sequence_tokens
    hidden_TE = model.model(
        input_ids=tokens_T[None],
        position_ids=places_T[None],
        attention_mask=tokens_T.new_ones(1, 1, 1, 1, dtype=torch.bool),  # of four dimensions: no mask is built
        use_cache=False,
        razona_layout=rows_layout(settings),
    ).last_hidden_state[0]
    chosen = places_T[1:].nonzero().squeeze(1)
    labels_T = tokens_T[1:][chosen]
    loss = ChunkedCrossEntropy.apply(hidden_TE[chosen], model.lm_head.weight, labels_T, is_short)
    assert isinstance(loss, torch.Tensor)
    return loss


def pretrain_round(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    settings: PretrainSettings,
    *,
    first_document: int,
    steps: int | None,
    minutes: float | None = None,
    on_step: Callable[[int, float, float], None],
) -> int:
    """Train `model` in place for one round; give the number of optimizer updates made.

    A round has an optimizer of its own, and its learning rate rises, stays and falls.

    Args:
        first_document: where in the corpus the round starts.
        steps: optimizer updates; None lets `minutes` decide: the fall of the learning rate then starts when the
            plateau's share of the minutes is over, and a round of the resulting number of steps gives equal weights.
        on_step: called with (updates made in this round, loss in nats per token, seconds since its start).
    """
    is_short = wants_short_products("auto")
    install(model, has_short_products=is_short)
    optimizer = make_optimizer(model, settings)
    stream = TokenStream(tokenizer, settings.seed, first_document)
    total = steps
    plateau_s = (1 - settings.decay_share) * 60 * (minutes or 0.0)
    model.train()
    started = time.monotonic()
    step = 0
    while total is None or step < total:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * learning_rate_share(step, total, settings)
        loss = next_token_loss(
            model, torch.from_numpy(stream.take(settings.tokens_per_step)), settings, is_short=is_short
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        elapsed = time.monotonic() - started
        if total is None and elapsed >= plateau_s:
            total = math.ceil(step / (1 - settings.decay_share))
        on_step(step, loss.item(), elapsed)
    return step
