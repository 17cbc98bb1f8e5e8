"""The policy of a run and its problems, by the backend that the recipe and the machine allow."""

from collections.abc import Callable
from dataclasses import dataclass

import transformers
from trl.trainer.grpo_trainer import GRPOTrainer

from razona.core.launch import num_processes
from razona.core.rundir import RunDir
from razona.models.load import Policy, load_policy, load_tokenizer
from razona.models.unsloth import Lengths, choose_backend, load_with_unsloth, say_backend
from razona.recipe import Recipe
from razona.train.dataset import RunData, prepare_data
from razona.train.delegated import check_vllm_here
from razona.train.processes import stop_together


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """What reads prompts before there is a policy."""

    tokenizer: transformers.PreTrainedTokenizerBase


def load_run(recipe: Recipe, run: RunDir, look_at: Callable[[Policy], object]) -> tuple[Policy, RunData]:
    """Load the policy, with Unsloth's adapter on it where Unsloth loads it, and prepare the run's problems.

    Unsloth must be told the longest text when it loads, so there the problems come first. All processes call it
    together.

    Args:
        look_at: called with the policy, in every process, as soon as it is there.

    Raises:
        ModelError: the model cannot be loaded, or `model.backend: unsloth` cannot be used.
        MachineError: `rollout.engine: vllm` cannot run here.
        DataError: no problem is left to train on.
    """
    with stop_together():
        check_vllm_here(recipe, num_processes())
        backend = choose_backend(recipe, GRPOTrainer)
        say_backend(backend)
    if backend.name == "unsloth":
        with stop_together():
            reader = _Reader(tokenizer=load_tokenizer(recipe.model))
            data = prepare_data(recipe, reader, run)
            lengths = Lengths(longest_prompt=data.longest_prompt, longest_read=data.longest_read)
            policy = load_with_unsloth(recipe, reader.tokenizer, lengths)
        look_at(policy)
        return policy, data
    with stop_together():
        policy = load_policy(recipe.model, trains_all_weights=recipe.lora is None)
    look_at(policy)
    with stop_together():
        return policy, prepare_data(recipe, policy, run)
