"""TRL's trainer as Unsloth rewrites it. Not run so far: no machine that had Unsloth and a GPU was at hand."""

import importlib
import os
import tempfile
from typing import TYPE_CHECKING

from measuring import ROOT

if TYPE_CHECKING:
    from trainers import Job
    from trl.trainer.grpo_trainer import GRPOTrainer

RUNS = ROOT / "runs"
CONFIG_FIELDS = (
    "output_dir",
    "seed",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
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
"""Of TRL's configuration; Unsloth has a class of its own and chooses the rest."""


def import_unsloth() -> None:
    """Import Unsloth, which rewrites parts of torch, transformers, PEFT and TRL."""
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(RUNS / "unsloth_compiled_cache"))
    importlib.import_module("unsloth")


def unsloth_trainer(job: "Job") -> "GRPOTrainer":
    """Give TRL's trainer as Unsloth rewrites it, on its own fast path for models and adapters, without vLLM."""
    from trl import trainer as patched
    from unsloth import FastLanguageModel  # pyright: ignore[reportMissingImports]

    from razona.data import tags_of
    from razona.rewards import Mix
    from razona.train.trl_config import grpo_config

    recipe, rollout = job.recipe, job.recipe.rollout
    assert recipe.lora is not None and isinstance(recipe.lora.target_modules, list)
    plain = grpo_config(recipe, job.run.checkpoints, is_packed=False)
    RUNS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RUNS) as folder:  # Unsloth loads by name or folder alone
        job.policy.model.save_pretrained(folder)
        job.policy.tokenizer.save_pretrained(folder)
        job.policy.model.to("meta")  # pyright: ignore[reportArgumentType]  frees the GPU of the first copy
        model, tokenizer = FastLanguageModel.from_pretrained(
            model_name=folder,
            max_seq_length=512 + rollout.max_completion_tokens,
            dtype=job.policy.model.dtype,
            load_in_4bit=False,
            fast_inference=False,
        )
    model = FastLanguageModel.get_peft_model(
        model,
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        target_modules=recipe.lora.target_modules,
        use_gradient_checkpointing="unsloth",
        random_state=recipe.train.seed,
    )
    # Both names are Unsloth's classes since it was imported.
    return patched.GRPOTrainer(  # pyright: ignore[reportPrivateImportUsage]
        model=model,
        processing_class=tokenizer,
        reward_funcs=Mix.of(recipe.rewards, tags_of(recipe.prompt)),  # pyright: ignore[reportArgumentType]
        args=patched.GRPOConfig(  # pyright: ignore[reportPrivateImportUsage]
            **{name: getattr(plain, name) for name in CONFIG_FIELDS},
            report_to="none",
            save_strategy="no",
            generation_kwargs={"min_new_tokens": rollout.max_completion_tokens},
        ),
        train_dataset=job.dataset,
    )
