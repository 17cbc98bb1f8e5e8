"""The Unsloth backend: its loader, its adapter and its trainer around our data, verdicts and records.

`import unsloth` rewrites transformers' layers, PEFT's adapters and TRL's trainer (it generates a subclass of
`GRPOTrainer` and puts it in its place). So it must come before all of them: `import_first` does that for `razona
train`; who calls `razona.train.train` from Python writes `import unsloth` above every other import.

How our trainer and Unsloth's fit together (read from unsloth and unsloth_zoo 2026.10.9; never run on a GPU so far):

- Loading, 4-bit weights, the adapter, gradient checkpointing: Unsloth's, with the recipe's values.
- Sampling: TRL's path into `generate`, which Unsloth has replaced by its own (layers in inference mode, CUDA graphs for
  decoding). Our `native` engine stays off: it reads `model.model.rotary_emb`, which in Unsloth's model has another
  signature, and would rotate by wrong angles without an error.
- Loss and log-probs: Unsloth's `compute_loss`. It replaces TRL's and computes them from hidden states, a chunk of the
  vocabulary at a time; that is what saves its memory. Our packed pass stays off: Unsloth's attention ignores the
  attention function that a model names, and with it our layout of rows.
- Order of problems, prompts, verdicts, rewards, receipts, groups without signal, checkpoints, metrics, the guard: ours.
  They stand on methods that Unsloth leaves with TRL's signatures.

What Unsloth would do otherwise than the recipe says is refused by name (`razona.recipe.backends`), and where its
configuration has other defaults than TRL's, `razona.train.trl_config` gives TRL's.
"""

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from razona.core.errors import ModelError
from razona.core.launch import is_main_process, num_processes
from razona.core.terminal import say
from razona.recipe import Recipe
from razona.recipe.backends import unsloth_conflict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from razona.models.load import Policy

INSTALL = 'pip install "razona[unsloth]"'
REWRITTEN = ("trl", "transformers", "peft")
"""What `import unsloth` must come before."""
EMBEDDED = "embedded"
CACHE = Path("~/.cache/razona/unsloth_compiled_cache")
"""Where the classes go that Unsloth generates; by itself it makes a folder where the command was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What loads the policy of a run."""

    name: str
    """`peft` or `unsloth`."""
    note: str = ""
    """Why `auto` did not take Unsloth; "" where there is nothing to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Prompts that the policy will read, in tokens."""

    longest_prompt: int
    """Of those that the run samples from."""
    longest_read: int
    """Of all that its source holds: what looks at the policy before the run may take others."""


def is_installed() -> bool:
    """Say whether the package is there, without importing it."""
    return "unsloth" in sys.modules or importlib.util.find_spec("unsloth") is not None


def has_gpu() -> bool:
    """Say whether the machine shows an NVIDIA GPU to this process, without starting CUDA or loading torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True, check=False).returncode == 0


def came_too_late(bound: type | None = None) -> str:
    """Give what was imported before Unsloth and should have come after it; "" where nothing was.

    Args:
        bound: the trainer class of TRL's that ours stands on; None while ours is not loaded.
    """
    if "unsloth" not in sys.modules:
        return ", ".join(name for name in REWRITTEN if name in sys.modules)
    home = sys.modules.get("trl.trainer.grpo_trainer")
    is_stale = bound is not None and home is not None and home.GRPOTrainer is not bound
    return "razona.train" if is_stale else ""


def obstacle(recipe: Recipe) -> str:
    """Give why Unsloth cannot train this recipe on this machine, and the way out; "" where it can."""
    if not has_gpu():
        installing = "" if is_installed() else f" (and the package: {INSTALL})"
        return f"it needs an NVIDIA GPU, and nvidia-smi shows none here{installing}"
    conflict = unsloth_conflict(recipe.lora, recipe.rollout, recipe.train)
    if conflict:
        return f"it does not go with {conflict}"
    if num_processes() > 1:
        return f"it is for one process, and this run has {num_processes()}. Start it without --num-processes"
    if not is_installed():
        return f"the package unsloth is not installed. Install it: {INSTALL}"
    return ""


def import_first(recipe: Recipe) -> None:
    """Import Unsloth where the recipe will train with it. Call it before torch, transformers, PEFT and TRL are loaded.

    Raises:
        ModelError: `model.backend: unsloth`, and the import fails.
    """
    section = recipe.model
    if section.backend == "peft" or (section.name == EMBEDDED and section.backend == "auto"):
        return
    if obstacle(recipe) or came_too_late():
        return  # choose_backend says it
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(CACHE.expanduser()))
    try:
        importlib.import_module("unsloth")
    except (ImportError, NotImplementedError, RuntimeError, OSError) as error:
        sys.modules.pop("unsloth", None)
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"model.backend: {section.backend}: unsloth is installed and cannot be imported: {first_line} "
            f"Mend the installation ({INSTALL}), or set model.backend: peft."
        ) from error


def choose_backend(recipe: Recipe, bound: type | None = None) -> Backend:
    """Give what loads the policy.

    Args:
        bound: as for `came_too_late`.

    Raises:
        ModelError: `model.backend: unsloth`, and it cannot be.
    """
    section = recipe.model
    if section.backend == "peft" or (section.name == EMBEDDED and section.backend == "auto"):
        return Backend(name="peft")
    reason = obstacle(recipe)
    late = "" if reason else came_too_late(bound)
    if late:
        reason = (
            f"{late} {'was' if ',' not in late else 'were'} imported before unsloth, which rewrites what comes after "
            "it. Start it with `razona train`, or write `import unsloth` above every other import"
        )
    if not reason:
        return Backend(name="unsloth")
    if section.backend == "unsloth":
        raise ModelError(f"model.backend: unsloth cannot be used: {reason}, or set model.backend: peft.")
    return Backend(name="peft", note=f"model.backend: auto trains with PEFT, not Unsloth: {reason}.")


def say_backend(backend: Backend) -> None:
    """Print the backend's note, once a run."""
    if backend.note and is_main_process():
        say(f"razona: {backend.note}", to_stderr=True)


def load_with_unsloth(recipe: Recipe, tokenizer: "PreTrainedTokenizerBase", lengths: Lengths) -> "Policy":
    """Load the policy with its adapter through Unsloth.

    Args:
        tokenizer: ours, with the recipe's chat template and padding; Unsloth's copy is left aside.
        lengths: with the completion they give the length that Unsloth is told: it cuts off, without an error, what goes
            beyond.

    Raises:
        ModelError: the model cannot be loaded, or has fewer positions than prompt and completion together.
    """
    from transformers import AutoConfig

    from razona.models.load import Policy, resolve
    from razona.models.quantised import quantisation
    from razona.models.refusals import cannot_load, wants_safetensors

    section, lora = recipe.model, recipe.lora
    assert lora is not None  # unsloth_conflict
    unsloth: Any = importlib.import_module("unsloth")
    source = resolve(section.name)
    wants_safetensors(source, section)  # for its refusals, like the next; Unsloth chooses its settings itself
    quantisation(section)
    try:
        config = AutoConfig.from_pretrained(
            source, revision=section.revision, trust_remote_code=section.trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        raise cannot_load("configuration", section, source, error) from error
    length = _length(config.get_text_config(), section.name, lengths, recipe.rollout.max_completion_tokens)
    try:
        model, _ = unsloth.FastLanguageModel.from_pretrained(
            model_name=source,
            max_seq_length=length,
            dtype=_dtype(section.dtype),
            load_in_4bit=section.load_in_4bit,
            revision=section.revision,
            trust_remote_code=section.trust_remote_code,
            use_exact_model_name=True,  # else another repository with weights of Unsloth's own may stand in
            use_gradient_checkpointing="unsloth",
            random_state=recipe.train.seed,
            max_lora_rank=lora.rank,
            fast_inference=False,  # its vLLM: TRL's is `rollout.engine: vllm`
        )
    except (OSError, ValueError, KeyError) as error:
        raise cannot_load("model", section, source, error) from error
    targets = lora.target_modules
    model = unsloth.FastLanguageModel.get_peft_model(
        model,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        bias="none",
        use_gradient_checkpointing="unsloth",
        random_state=recipe.train.seed,
    )
    return Policy(model=model, tokenizer=tokenizer, name=section.name)


def is_rewritten(model: object) -> bool:
    """Say whether a model's layers are Unsloth's, and so not those that our own loops know.

    Its own models are; so is every other model of a family that Unsloth has loaded before in this process: it puts its
    forwards into transformers' classes.
    """
    if callable(getattr(model, "for_inference", None)):
        return True
    parts = model.modules() if hasattr(model, "modules") else ()  # pyright: ignore[reportAttributeAccessIssue]
    return any(
        getattr(found, "__module__", "").startswith("unsloth") for part in parts for found in (type(part), part.forward)
    )


def _dtype(name: str) -> object:
    """Give torch's type; None, with which Unsloth takes bfloat16 where the GPU has it and float16 elsewhere."""
    import torch

    return None if name == "auto" else getattr(torch, name)


def _length(config: Any, name: str, lengths: Lengths, completion: int) -> int:
    """Give the tokens of the longest text that Unsloth must take."""
    positions = getattr(config, "max_position_embeddings", None) or sys.maxsize
    needed = lengths.longest_prompt + completion
    if needed > positions:
        raise ModelError(
            f"model.name = {name} knows {positions} positions, and the longest prompt ({lengths.longest_prompt} "
            f"tokens) with rollout.max_completion_tokens = {completion} takes {needed}; Unsloth would stretch them, "
            "which makes another model of it. Lower rollout.max_completion_tokens or data.max_prompt_tokens."
        )
    return max(needed, min(lengths.longest_read + completion, positions))
