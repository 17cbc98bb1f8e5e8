"""The recipe's section `sft`: supervised fine-tuning, alone or before reinforcement."""

from typing import Literal

from pydantic import Field

from razona.recipe.section import Section


class SftSection(Section):
    """Supervised fine-tuning (`train.method: sft`, or `sft_then_grpo`): on which solutions, and how long.

    Where none are given, the model's own are taken: it is sampled, the verifier keeps the right ones, and these are
    written in the form asked for (rejection sampling, RAFT, arXiv:2304.06767). Still nobody labels anything.
    """

    source: Literal["own", "given"] = "own"
    """`own`: solutions that the model wrote and the verifier accepted. `given`: the worked solutions of the data, of
    our generators or of the column `solution`."""
    prompt: Literal["training", "bare", "question-answer", "working", "few-shot", "chat"] = "training"
    """With `own`, how the model is asked: `training` is the recipe's prompt; `bare`, `question-answer`, `working`,
    `few-shot` and `chat` are those of `razona eval --prompt`, for a base that never answers in the form."""
    num_problems: int = Field(default=512, ge=1)
    """Problems whose solutions are sought, the first of the training's; fewer where the data has fewer."""
    samples: int = Field(default=8, ge=1)
    """With `own`, completions of each problem. 8 is what a group of `rollout` takes."""
    per_problem: int = Field(default=1, ge=1)
    """With `own`, right completions of a problem that are kept, at most: those in the form asked for first, then those
    with more worked steps (our choice: a right guess without working teaches guessing)."""
    epochs: int = Field(default=2, ge=1)
    """Times that each solution is seen. A warm-up of 2 is what the well-known GRPO notebooks do (59 rows)."""
    max_steps: int | None = Field(default=None, ge=1)
    """Optimizer updates at most. null: as many as the epochs hold."""
    max_token_passes: int | None = Field(default=None, ge=1)
    """Budget: 1 for each token that is sampled in search of own solutions, 3 for each that is trained on. The epochs
    end where it does, after one update at least. null: none."""
    batch_size: int = Field(default=32, ge=1)
    """Solutions of an optimizer update over all processes; where there are fewer in all, an update takes them all.
    Adapters do not bear large batches ("LoRA Without Regret")."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """AdamW's peak; it falls to 0 linearly. 2e-4 is TRL's advice for LoRA; small models bear more."""
    warmup_steps: int = Field(default=3, ge=0)
    """Updates over which the learning rate rises to its peak. 0: none."""
