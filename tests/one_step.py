"""One optimizer step of our trainer and of TRL's own on the same completions, in one process or in several.

`torchrun --standalone --nproc_per_node 2 tests/one_step.py FOLDER` takes the step of each of `CASES` and leaves what
each process found in `FOLDER/<process>.pt`: case name -> "ours" or "theirs" -> the fields of its `Step`.

The model is the embedded base: with random weights the gradients of attention cancel nearly to nothing, and what is
left of them in fp32 is rounding (TRL's own are then 2.8e-5 of their norm from those in fp64).
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from unittest.mock import patch

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedTokenizerBase, TrainerCallback
from trl.trainer import grpo_trainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from razona.core.launch import num_processes, process_index
from razona.core.rundir import RunDir
from razona.data import tags_of
from razona.models.load import Policy, load_policy, lora_config
from razona.recipe import Recipe, load
from razona.rewards import Mix
from razona.rollout import OnFinished, Sampled
from razona.train import packed
from razona.train import run as run_module
from razona.train import trainer as trainer_module
from razona.train.dataset import prepare_data
from razona.train.processes import join_processes, leave_processes
from razona.train.trl_config import grpo_config

GROUP_SIZE = 4
GROUPS = 8
HALF = GROUPS // 2
"""Groups of one of two processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a step is taken with."""

    loss: str
    accumulation: int
    flat_groups: tuple[int, ...] = (1, 6)
    """Groups whose completions are all wrong."""
    is_clipped: bool = False
    """The policy has moved since it sampled, far enough for the ratio to be clipped on both sides."""
    kl_weight: float = 0.0
    has_checkpointing: bool = False
    """As on a GPU: activations are computed again in the backward pass."""

    @property
    def name(self) -> str:
        parts = (
            self.loss,
            f"{self.accumulation}-microbatches",
            "flat-" + "".join(map(str, self.flat_groups)),
            "clipped" * self.is_clipped,
            "kl" * bool(self.kl_weight),
            "checkpointing" * self.has_checkpointing,
        )
        return "-".join(filter(None, parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a trainer made of the completions."""

    loss: float
    gradient: dict[str, torch.Tensor]
    """Of every trained parameter, as the optimizer gets it."""
    computed_rows: list[int]
    """Rows of each forward pass with a gradient that ours packed; empty for TRL's."""


LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo")
SECOND_HALF = tuple(range(HALF, GROUPS))
"""The flat groups that leave the second of two processes nothing to learn from."""
CASES = [
    *(Case(loss=loss, accumulation=count, is_clipped=True) for loss in LOSSES for count in (1, 4)),
    *(Case(loss=loss, accumulation=count, flat_groups=SECOND_HALF) for loss in LOSSES for count in (1, 4)),
    Case(loss="dapo", accumulation=4, flat_groups=SECOND_HALF, is_clipped=True),
    Case(loss="dapo", accumulation=4, is_clipped=True, kl_weight=0.1),
    Case(loss="dapo", accumulation=4, flat_groups=SECOND_HALF, has_checkpointing=True),
]


def recipe_of(case: Case) -> Recipe:
    return load(
        "demo",
        [
            "train.steps=1",
            f"train.completions_per_step={GROUPS * GROUP_SIZE}",
            f"train.microbatch_size={GROUPS * GROUP_SIZE // (case.accumulation * num_processes())}",
            f"train.loss_type={case.loss}",
            f"train.kl_weight={case.kl_weight}",
            "train.max_grad_norm=0",
            "train.precision=float32",
            "train.sampling=uniform",
            f"rollout.group_size={GROUP_SIZE}",
            "lora.rank=4",
            "guard.every=0",
        ],
    )


def texts_of_step(targets: list[str], flat_groups: tuple[int, ...]) -> list[str]:
    """Give the completions of the step in the order of the groups; half of each are right, none where it is flat."""
    rng = Random(5)
    texts = []
    for place in range(GROUPS * GROUP_SIZE):
        target, lines = targets[place // GROUP_SIZE], rng.randrange(1, 5)
        is_right = place // GROUP_SIZE not in flat_groups and place % 2 == 0
        working = " ".join(f"{rng.randrange(100)} + {rng.randrange(100)} = {rng.randrange(200)}." for _ in range(lines))
        texts.append(f"{working}<end_working_out><SOLUTION>{target if is_right else target + '1'}</SOLUTION>")
    return texts


def ids_of_step(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Give their tokens; the last of each group is cut off before its end."""
    end = tokenizer.eos_token_id
    assert isinstance(end, int)
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    return [one if place % GROUP_SIZE == GROUP_SIZE - 1 else [*one, end] for place, one in enumerate(ids)]


def of_this_process(rows: list) -> list:
    size = len(rows) // num_processes()
    return rows[process_index() * size : (process_index() + 1) * size]


def with_old_logprobs(trainer: GRPOTrainer, scored: dict, case: Case) -> dict:
    """Say, where the case wants it, that another policy sampled: its log-probs are drawn around the model's."""
    if not case.is_clipped:
        return scored
    ids, mask = (torch.cat([scored[f"prompt_{part}"], scored[f"completion_{part}"]], dim=1) for part in ("ids", "mask"))
    width = scored["completion_ids"].shape[1]
    with torch.no_grad():
        own_BC = GRPOTrainer._get_per_token_logps_and_entropies(trainer, trainer.model, ids, mask, width)[0]
    generator = torch.Generator().manual_seed(process_index())
    return {**scored, "old_per_token_logps": own_BC + 2.0 * torch.randn(own_BC.shape, generator=generator)}


class Catch(TrainerCallback):
    """Keeps the gradient that the optimizer gets."""

    def __init__(self) -> None:
        self.gradient: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, args: object, state: object, control: object, **kwargs: object) -> None:
        model = kwargs["model"]
        assert isinstance(model, PeftModel)
        trained = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
        assert all(one.grad is not None for _, one in trained)
        self.gradient = {name: one.grad.clone() for name, one in trained if one.grad is not None}


def take_step(case: Case, folder: Path, *, is_ours: bool) -> Step:
    """Take the one step of a run whose completions are given."""
    recipe, run = recipe_of(case), RunDir(folder)
    torch.manual_seed(0)
    policy = load_policy(recipe.model)
    dataset = prepare_data(recipe, policy, run).dataset
    trainer = (_ours if is_ours else _theirs)(case, recipe, policy, dataset, run)
    assert trainer.model is not None
    with torch.no_grad():  # an adapter that does something, the same for both
        generator = torch.Generator().manual_seed(0)
        for name, parameter in trainer.model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    ids = ids_of_step(policy.tokenizer, texts_of_step(dataset["target"][:], case.flat_groups))
    score = trainer._generate_and_score_completions

    def sample(prompt_ids: list, round_of_step: int, on_finished: OnFinished) -> list[Sampled]:
        own = of_this_process(ids)
        on_finished(list(range(len(own))), own)
        return [Sampled(ids=one, logprobs=None) for one in own]

    sampling = (
        {"_sample": sample} if is_ours else {"_generate_single_turn": lambda *prompts: (of_this_process(ids), None)}
    )
    given = {
        **sampling,
        "_tokenize_prompts": lambda texts: ([policy.tokenizer.encode(text) for text in texts], None, {}),
        "_generate_and_score_completions": lambda inputs: with_old_logprobs(trainer, score(inputs), case),
    }
    catch, computed_rows = Catch(), []
    trainer.add_callback(catch)
    with patch.multiple(trainer, **given), patched(case, computed_rows):
        trainer.train()
    return Step(loss=trainer.state.log_history[0]["loss"], gradient=catch.gradient, computed_rows=computed_rows)


def _ours(case: Case, recipe: Recipe, policy: Policy, dataset: Dataset, run: RunDir) -> GRPOTrainer:
    with patch.object(run_module, "grpo_config", partial(config_of, case)):
        return run_module._make_trainer(recipe, policy, dataset, run, lambda row: None)


def _theirs(case: Case, recipe: Recipe, policy: Policy, dataset: Dataset, run: RunDir) -> GRPOTrainer:
    assert recipe.lora is not None
    return GRPOTrainer(
        model=policy.model,
        reward_funcs=Mix.of(recipe.rewards, tags_of(recipe.prompt)),
        args=config_of(case, recipe, run.checkpoints, is_packed=False, num_processes=num_processes()),
        train_dataset=dataset,
        processing_class=policy.tokenizer,
        peft_config=lora_config(recipe.lora),
    )


def config_of(
    case: Case,
    recipe: Recipe,
    output_dir: Path,
    *,
    is_packed: bool,
    num_processes: int,
    max_length: int | None = None,
) -> GRPOConfig:
    args = grpo_config(recipe, output_dir, is_packed=is_packed, num_processes=num_processes, max_length=max_length)
    args.save_strategy = "no"
    args.gradient_checkpointing = args.activation_checkpointing = case.has_checkpointing
    return args


@contextmanager
def patched(case: Case, computed_rows: list[int]) -> Iterator[None]:
    """Count the rows that are packed for a backward pass, and let both trainers keep the order where it matters.

    `bnpo` divides by the tokens of a microbatch, so its gradient depends on which rows share one.
    """
    pack = packed.pack

    def counting_pack(prompts: list, completions: list, *others: object) -> packed.Packed:
        if torch.is_grad_enabled():
            computed_rows.append(len(prompts))
        return pack(prompts, completions, *others)  # pyright: ignore[reportArgumentType]

    with patch.object(packed, "pack", counting_pack), ExitStack() as unshuffled:
        if case.loss == "bnpo":
            unshuffled.enter_context(patch.object(grpo_trainer, "shuffle_sequence_dict", lambda batch: batch))
            unshuffled.enter_context(patch.object(trainer_module, "shuffle_groups", lambda batch, group_size: batch))
        yield


def main(folder: Path) -> None:
    found = {}
    join_processes()
    for case in CASES:
        found[case.name] = {
            side: asdict(take_step(case, folder / case.name / side, is_ours=side == "ours"))
            for side in ("ours", "theirs")
        }
    leave_processes()
    torch.save(found, folder / f"{process_index()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
