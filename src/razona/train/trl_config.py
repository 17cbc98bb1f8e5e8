"""The one table from the recipe's names to TRL's."""

from pathlib import Path

import torch
from trl.trainer.grpo_config import GRPOConfig

from razona.models.arithmetic import wants_autocast
from razona.recipe import Recipe
from razona.recipe.training import VllmSection

TRL_DEFAULTS: dict[str, object] = {"optim": "adamw_torch_fused", "mask_truncated_completions": False}
"""TRL's own values where Unsloth's configuration has others: adamw_8bit, and with `dapo` truncated completions left
out."""

UNSLOTH_FIELD = "unsloth_num_chunks"
"""By which the class that Unsloth puts in TRL's place is known: it takes over the name, too."""


def grpo_config(
    recipe: Recipe,
    output_dir: Path,
    *,
    is_packed: bool,
    num_processes: int = 1,
    max_length: int | None = None,
    **others: object,
) -> GRPOConfig:
    """Give TRL's configuration for a recipe.

    One optimizer step samples `completions_per_step` completions, once, and reads each of them in one backward
    pass: `steps_per_generation` equals `gradient_accumulation_steps`, so that the policy that sampled is the
    policy that is trained and the ratio starts at 1.

    Args:
        is_packed: log-probs are computed by `razona.train.packed`.
        num_processes: that share a step's completions; TRL's batch sizes are those of one process.
        max_length: tokens of the longest prompt and completion together, with which vLLM bounds its memory; None: as
            many as the model has positions.
        others: fields of TRL's own, which take the place of the recipe's. They must be given here: what depends on them
            is settled when the configuration is made.
    """
    train, rollout = recipe.train, recipe.rollout
    backward_passes = train.completions_per_step // (train.microbatch_size * num_processes)
    is_cpu = not torch.cuda.is_available()
    fields: dict[str, object] = {
        "output_dir": str(output_dir),
        "run_name": recipe.name,
        "seed": train.seed,
        "data_seed": train.seed,
        # the step
        "max_steps": train.steps,
        "per_device_train_batch_size": train.microbatch_size,
        "gradient_accumulation_steps": backward_passes,
        "steps_per_generation": backward_passes,
        "num_generations": rollout.group_size,
        "num_iterations": 1,
        "shuffle_dataset": False,  # the rows come in the order in which they are trained on
        # sampling
        "max_completion_length": rollout.max_completion_tokens,
        "temperature": rollout.temperature,
        "top_p": rollout.top_p,
        "top_k": rollout.top_k,
        "min_p": rollout.min_p or None,
        **_vllm(recipe, max_length),
        # the loss
        "loss_type": train.loss_type,
        "importance_sampling_level": "sequence" if train.loss_type == "luspo" else "token",
        "beta": train.kl_weight,
        "epsilon": train.clip_low,
        "epsilon_high": train.clip_high,
        "scale_rewards": train.scale_rewards,
        # the optimizer
        "learning_rate": train.learning_rate,
        # transformers' plain `constant` ignores the warm-up.
        "lr_scheduler_type": "constant_with_warmup" if train.schedule == "constant" else train.schedule,
        "warmup_steps": train.warmup_steps,
        "weight_decay": train.weight_decay,
        "max_grad_norm": train.max_grad_norm,
        # the machine
        "use_cpu": is_cpu,
        "bf16": wants_autocast(train.precision, is_packed=is_packed),
        "gradient_checkpointing": not is_cpu,
        "dataloader_pin_memory": not is_cpu,
        # what is kept; metrics, completions and the progress bar are ours
        "save_strategy": "steps",
        "save_steps": train.save_every,
        "save_total_limit": None,  # `razona.train.checkpoints` removes older ones
        "logging_steps": 1,
        "logging_first_step": False,
        "disable_tqdm": True,
        "report_to": "none",  # `razona.train.trackers` reports
        "remove_unused_columns": False,
    }
    if UNSLOTH_FIELD in GRPOConfig.__dataclass_fields__:
        fields |= TRL_DEFAULTS
    return GRPOConfig(**{**fields, **others})  # pyright: ignore[reportArgumentType]


def _vllm(recipe: Recipe, max_length: int | None) -> dict[str, object]:
    """Give TRL's fields for `rollout.engine: vllm`; none for the other engines."""
    if recipe.rollout.engine != "vllm":
        return {}
    vllm = recipe.rollout.vllm or VllmSection()
    fields: dict[str, object] = {
        "use_vllm": True,
        "vllm_mode": vllm.mode,
        "vllm_server_host": vllm.server_host,
        "vllm_server_port": vllm.server_port,
        "vllm_gpu_memory_utilization": vllm.gpu_memory_utilization,
        "vllm_tensor_parallel_size": vllm.tensor_parallel_size,
        "vllm_enable_sleep_mode": vllm.enable_sleep_mode,
        "vllm_max_model_length": max_length,
        "vllm_importance_sampling_correction": vllm.correction != "none",
        "trust_remote_code": recipe.model.trust_remote_code,
    }
    return fields if vllm.correction == "none" else {**fields, "vllm_importance_sampling_mode": vllm.correction}
