"""A package `unsloth` that does on a CPU what the real one does to TRL, and writes down what it is asked.

`write_package` puts it into a folder for another process to import; `FastLanguageModel` serves in this one. What the
real one does is read from unsloth 2026.10.9, models/rl.py, rl_replacements.py and llama.py.
"""

import json
import os
import sys
from pathlib import Path

TOO_EARLY = [name for name in ("trl", "transformers", "peft") if name in sys.modules]
"""What had been imported before this module."""
CALLS: list[tuple[str, dict]] = []


def note(name: str, **values: object) -> None:
    CALLS.append((name, values))
    if path := os.environ.get("FAKE_UNSLOTH_CALLS"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, {key: repr(value) for key, value in values.items()}]) + "\n")


class FastLanguageModel:
    """Unsloth's door, over transformers and PEFT."""

    @staticmethod
    def from_pretrained(**values):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        note("from_pretrained", **values)
        source = values["model_name"]
        model = AutoModelForCausalLM.from_pretrained(source, dtype=values["dtype"])
        model.max_seq_length = values["max_seq_length"]
        return _with_modes(model), AutoTokenizer.from_pretrained(source)

    @staticmethod
    def get_peft_model(model, **values):
        from peft import LoraConfig, get_peft_model

        note("get_peft_model", **values)
        own = ("use_gradient_checkpointing", "random_state")
        config = LoraConfig(**{key: value for key, value in values.items() if key not in own}, task_type="CAUSAL_LM")
        return _with_modes(get_peft_model(model, config))


def _with_modes(model):
    def for_inference():
        note("for_inference")
        model.eval()

    def for_training(use_gradient_checkpointing=True):
        note("for_training", use_gradient_checkpointing=use_gradient_checkpointing)
        model.train()

    model.for_inference, model.for_training = for_inference, for_training
    return model


def rewrite_trl() -> None:
    """Put a trainer and a configuration in TRL's place, with the calls and defaults of Unsloth's."""
    from dataclasses import dataclass

    import trl.trainer.grpo_config as config_module
    import trl.trainer.grpo_trainer as trainer_module

    @dataclass
    class UnslothGRPOConfig(config_module.GRPOConfig):
        unsloth_num_chunks: int = -1
        optim: str = "adamw_8bit"
        mask_truncated_completions: bool | None = None

        def __post_init__(self):
            note("config", optim=self.optim, mask_truncated_completions=self.mask_truncated_completions)
            super().__post_init__()

    class UnslothGRPOTrainer(trainer_module.GRPOTrainer):
        def _get_per_token_logps_and_entropies(
            self,
            model,
            input_ids,
            attention_mask,
            logits_to_keep,
            batch_size=None,
            compute_entropy=False,
            compute_efficient=False,
            *args,
            **kwargs,
        ):
            if compute_efficient:
                return None, None
            kwargs.pop("compute_aux_loss", None)
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **kwargs
            )

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            ids = inputs["prompt_ids"], inputs["prompt_mask"], 1, None, False, True
            note("compute_loss", efficient=self._get_per_token_logps_and_entropies(model, *ids)[0])
            return super()._compute_loss(model, inputs)

    name = config_module.GRPOConfig.__qualname__
    UnslothGRPOConfig.__name__ = UnslothGRPOConfig.__qualname__ = name  # as there: a checkpoint pickles it by name
    UnslothGRPOConfig.__module__ = config_module.__name__
    config_module.GRPOConfig = trainer_module.GRPOConfig = UnslothGRPOConfig
    trainer_module.GRPOTrainer = UnslothGRPOTrainer


def write_package(folder: Path) -> Path:
    """Write the package, which rewrites TRL when it is imported, and give the folder to put on the path."""
    text = Path(__file__).read_text(encoding="utf-8")
    (folder / "unsloth").mkdir(parents=True)
    end = '\n\nnote("imported", too_early=TOO_EARLY)\nrewrite_trl()\n'
    (folder / "unsloth" / "__init__.py").write_text(text + end, encoding="utf-8")
    return folder
