"""TRL's trainer as Unsloth rewrites it, on a policy that Unsloth loaded. Never run on a GPU so far."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from measuring import ROOT

if TYPE_CHECKING:
    from trainers import Job
    from trl.trainer.grpo_trainer import GRPOTrainer

CONFIG_FIELDS = (
    "output_dir",
    "seed",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "steps_per_generation",
    "num_generations",
    "max_completion_length",
    "temperature",
    "top_p",
    "top_k",
    "loss_type",
    "beta",
    "epsilon",
    "epsilon_high",
    "scale_rewards",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "max_grad_norm",
    "bf16",
    "logging_steps",
    "disable_tqdm",
    "remove_unused_columns",
)
"""Of our configuration; for the rest this side keeps what Unsloth chooses (8-bit AdamW among it)."""


def import_unsloth() -> None:
    """Import Unsloth as `razona train` does, before all that it rewrites.

    Raises:
        RuntimeError: it cannot be, and why.
    """
    from razona.models.unsloth import import_first, obstacle
    from razona.recipe import load

    recipe = load("demo", ["model.backend=unsloth"])
    import_first(recipe)
    if "unsloth" not in sys.modules:
        raise RuntimeError(obstacle(recipe) or "something that it rewrites was imported before it")


def keep_model(job: "Job") -> str:
    """Write the random model to a folder, unless it is there: Unsloth and vLLM load by name or folder alone."""
    config = job.policy.model.config
    folder = ROOT / "runs" / f"bench-gpu-model-{config.hidden_size}x{config.num_hidden_layers}"
    if not (folder / "config.json").exists():
        job.policy.model.save_pretrained(folder)
        job.policy.tokenizer.save_pretrained(folder)
    job.policy.model.name_or_path = str(folder)
    return str(folder)


def with_unsloths_policy(job: "Job") -> "Job":
    """Give the job with its policy loaded by Unsloth, as `model.backend: unsloth` does."""
    from razona.models.unsloth import Lengths, load_with_unsloth

    update = {
        "name": keep_model(job),
        "backend": "unsloth",
        "dtype": str(job.policy.model.dtype).removeprefix("torch."),
    }
    job.policy.model.to("meta")  # pyright: ignore[reportArgumentType]  frees the GPU of the first copy
    assert job.max_length is not None
    recipe = job.recipe.model_copy(update={"model": job.recipe.model.model_copy(update=update)})
    longest = job.max_length - recipe.rollout.max_completion_tokens
    lengths = Lengths(longest_prompt=longest, longest_read=longest)
    return replace(job, recipe=recipe, policy=load_with_unsloth(recipe, job.policy.tokenizer, lengths))


def unsloth_trainer(job: "Job") -> "GRPOTrainer":
    """Give TRL's trainer as Unsloth rewrites it, without ours: its own configuration, our reward and data."""
    from trl import trainer as rewritten

    from razona.data import tags_of
    from razona.rewards import Mix
    from razona.train.trl_config import grpo_config

    job = with_unsloths_policy(job)
    plain = grpo_config(job.recipe, job.run.checkpoints, is_packed=False)
    # Both names are Unsloth's classes since it was imported.
    return rewritten.GRPOTrainer(  # pyright: ignore[reportPrivateImportUsage]
        model=job.policy.model,
        processing_class=job.policy.tokenizer,
        reward_funcs=Mix.of(job.recipe.rewards, tags_of(job.recipe.prompt)),  # pyright: ignore[reportArgumentType]
        args=rewritten.GRPOConfig(  # pyright: ignore[reportPrivateImportUsage]
            **{name: getattr(plain, name) for name in CONFIG_FIELDS},
            report_to="none",
            save_strategy="no",
            generation_kwargs={"min_new_tokens": job.recipe.rollout.max_completion_tokens},
        ),
        train_dataset=job.dataset,
    )
