"""The packed forward gives TRL's own loss and gradient."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
import torch
from trl.trainer.grpo_trainer import GRPOTrainer

from razona.core.rundir import RunDir
from razona.models.load import load_policy
from razona.recipe import Recipe, load
from razona.train.attention import ATTENTION, _repeated
from razona.train.dataset import prepare_data
from razona.train.head import LabelLogprobs
from razona.train.layers import ShortProduct
from razona.train.packed import Row, logprobs_of_rows, pack, rows_of, shuffle_groups, unsupported_reason
from razona.train.run import _make_trainer
from razona.train.steady import SteadyTrainer
from razona.train.trainer import Trainer

LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")
GROUPS, GROUP_SIZE = 4, 4
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    loss: float
    gradient: dict[str, torch.Tensor]


def make_trainer(model: Path, folder: Path, *changes: str) -> Trainer:
    recipe: Recipe = load(
        "demo",
        [
            f"model.name={model}",
            "train.steps=1",
            f"train.completions_per_step={GROUPS * GROUP_SIZE}",
            f"train.microbatch_size={GROUPS * GROUP_SIZE}",
            f"rollout.group_size={GROUP_SIZE}",
            "lora.rank=4",
            "train.precision=float32",
            "guard.every=0",
            *changes,
        ],
    )
    run = RunDir(folder)
    policy = load_policy(recipe.model)
    trainer = _make_trainer(recipe, policy, prepare_data(recipe, policy, run).dataset, run, lambda row: None)
    trainer.current_gradient_accumulation_steps = 1
    with torch.no_grad():  # an adapter that does something
        generator = torch.Generator().manual_seed(0)
        for name, parameter in trainer.model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return trainer


def batch(*, has_old: bool, has_reference: bool, flat_groups: int = 1) -> dict[str, torch.Tensor]:
    """Ragged prompts and completions; the first groups are flat, and one completion is a single token."""
    rng = Random(1)
    prompts = [[rng.randrange(5, 700) for _ in range(rng.randrange(1, 14))] for _ in range(GROUPS)]
    prompts[-1] = prompts[-1][:1]
    rows = [prompts[place // GROUP_SIZE] for place in range(GROUPS * GROUP_SIZE)]
    completions = [[rng.randrange(5, 700) for _ in range(rng.randrange(1, 20))] for _ in rows]
    completions[5] = completions[5][:1]
    width, prompt_width = max(map(len, completions)), max(map(len, rows))
    generator = torch.Generator().manual_seed(2)
    advantages = torch.randn(len(rows), generator=generator)
    advantages[: flat_groups * GROUP_SIZE] = 0
    made = {
        "prompt_ids": torch.tensor([[0] * (prompt_width - len(row)) + row for row in rows]),
        "prompt_mask": torch.tensor([[0] * (prompt_width - len(row)) + [1] * len(row) for row in rows]),
        "completion_ids": torch.tensor([row + [0] * (width - len(row)) for row in completions]),
        "completion_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in completions]),
        "advantages": advantages,
        "num_items_in_batch": torch.tensor(sum(map(len, completions))),
    }
    if has_old:  # far enough for the ratio to be clipped on both sides
        made["old_per_token_logps"] = -6.6 + 0.8 * torch.randn(len(rows), width, generator=generator)
    if has_reference:
        made["ref_per_token_logps"] = -6.6 + 0.3 * torch.randn(len(rows), width, generator=generator)
    return made


def outcome(trainer: Trainer, inputs: dict[str, torch.Tensor], *, is_packed: bool) -> Outcome:
    trainer.unpacked_reason = "" if is_packed else "the test asks for TRL's own"
    trainer.model.zero_grad()
    trainer.model.train()
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    gradient = {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}
    return Outcome(loss=loss.item(), gradient=gradient)


def relative_difference(one: Outcome, other: Outcome) -> float:
    """Give the largest relative difference: of the loss, and of each parameter's gradient by its norm."""
    assert one.gradient.keys() == other.gradient.keys()
    assert all(gradient.norm() > 0 for gradient in one.gradient.values())
    apart = [
        ((one.gradient[name] - other.gradient[name]).norm() / one.gradient[name].norm()).item() for name in one.gradient
    ]
    return max(*apart, abs(one.loss - other.loss) / max(abs(one.loss), 1e-3))


@pytest.mark.parametrize("has_reference", [False, True], ids=["no-kl", "kl"])
@pytest.mark.parametrize("has_old", [False, True], ids=["on-policy", "clipped"])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_gradient_are_those_of_trl(loss, has_old, has_reference, random_model, tmp_path):
    trainer = make_trainer(random_model, tmp_path, f"train.loss_type={loss}", f"train.kl_weight={0.1 * has_reference}")
    inputs = batch(has_old=has_old, has_reference=has_reference)
    theirs = outcome(trainer, inputs, is_packed=False)
    ours = outcome(trainer, inputs, is_packed=True)
    assert relative_difference(theirs, ours) < TOLERANCE


@pytest.mark.parametrize("filled_to", [7, 512])
def test_fillers_at_the_end_of_the_packed_row_change_nothing(filled_to, random_model, tmp_path, monkeypatch):
    new_empty = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *given, **named: new_empty(*given, **named).fill_(torch.nan))
    trainer = make_trainer(random_model, tmp_path)
    inputs = batch(has_old=True, has_reference=False)
    theirs = outcome(trainer, inputs, is_packed=False)
    trainer.filled_to = filled_to
    assert relative_difference(theirs, outcome(trainer, inputs, is_packed=True)) < TOLERANCE
    packed = pack([[1, 2, 3], [4]], [[5, 6], [7]], torch.device("cpu"), filled_to)
    assert packed.ids_1T.shape[1] == packed.positions_1T.shape[1] == packed.labels_1T.shape[1] == filled_to
    assert packed.layout.num_fillers == filled_to - 5


@pytest.mark.parametrize("loss", ["grpo", "dapo"])
@pytest.mark.parametrize(  # thin adapters are ill-conditioned here: in fp32 throughout they are 5e-5 apart, too
    ("rank", "products", "apart"),
    [(16, 2, 10 * TOLERANCE), (2, 7, 50 * TOLERANCE)],
    ids=["adapters added", "adapters apart"],
)
def test_the_layers_of_bfloat16_give_the_gradient_of_trl_but_for_rounding(
    rank, products, apart, loss, random_model, tmp_path, monkeypatch
):
    changes = [f"train.loss_type={loss}", f"lora.rank={rank}"]
    inputs = batch(has_old=True, has_reference=False)
    theirs = outcome(make_trainer(random_model, tmp_path / "theirs", *changes), inputs, is_packed=False)
    trainer = make_trainer(random_model, tmp_path / "ours", *changes, "train.precision=bfloat16")
    calls: list[int] = []
    apply = ShortProduct.apply
    monkeypatch.setattr(ShortProduct, "apply", lambda *given: (calls.append(1), apply(*given))[1])
    rounded = outcome(trainer, inputs, is_packed=True)
    num_layers = trainer.model.config.num_hidden_layers
    assert len(calls) == products * num_layers  # beside them the MLP in blocks, where adapters are added
    asked: list[bool] = []

    @contextmanager
    def long_products(is_on: bool) -> Iterator[None]:
        asked.append(is_on)
        yield

    for module in ("train.layers", "train.head", "models.arithmetic"):
        monkeypatch.setattr(f"razona.{module}.short_products", long_products)
    unrounded = outcome(trainer, inputs, is_packed=True)
    assert relative_difference(theirs, unrounded) < apart
    assert asked and all(asked)
    assert relative_difference(theirs, rounded) < 0.1


def test_a_batch_of_flat_groups_alone_still_gives_every_parameter_a_gradient_of_zero(random_model, tmp_path):
    trainer = make_trainer(random_model, tmp_path)
    ours = outcome(trainer, batch(has_old=False, has_reference=False, flat_groups=GROUPS), is_packed=True)
    assert ours.loss == 0
    trained = {name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad}
    assert ours.gradient.keys() == trained
    assert all((gradient == 0).all() for gradient in ours.gradient.values())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("changes", [(), ("lora=null",)], ids=["adapter", "all weights"])
def test_the_head_is_ours_where_it_is_frozen(precision, changes, random_model, tmp_path, monkeypatch):
    trainer = make_trainer(random_model, tmp_path, *changes, f"train.precision={precision}")
    calls: list[int] = []
    apply = LabelLogprobs.apply
    monkeypatch.setattr(LabelLogprobs, "apply", lambda *given: (calls.append(1), apply(*given))[1])
    outcome(trainer, batch(has_old=False, has_reference=False), is_packed=True)
    assert len(calls) == (not changes)


def test_flat_rows_are_not_computed(random_model, tmp_path, monkeypatch):
    trainer = make_trainer(random_model, tmp_path)
    seen: list[int] = []
    monkeypatch.setattr(
        "razona.train.packed.pack", lambda prompts, *rest: (seen.append(len(prompts)), pack(prompts, *rest))[1]
    )
    outcome(trainer, batch(has_old=False, has_reference=False, flat_groups=3), is_packed=True)
    assert seen == [GROUP_SIZE]


def test_with_a_kl_term_every_row_is_computed(random_model, tmp_path, monkeypatch):
    trainer = make_trainer(random_model, tmp_path, "train.kl_weight=0.1")
    seen: list[int] = []
    monkeypatch.setattr(
        "razona.train.packed.pack", lambda prompts, *rest: (seen.append(len(prompts)), pack(prompts, *rest))[1]
    )
    outcome(trainer, batch(has_old=False, has_reference=True, flat_groups=3), is_packed=True)
    assert seen == [GROUPS * GROUP_SIZE]


def test_a_packed_row_holds_every_prompt_once_and_no_padding():
    packed = pack([[1, 2, 3], [1, 2, 3], [4]], [[5, 6], [7], [8, 9]], torch.device("cpu"))
    assert packed.ids_1T.tolist() == [[1, 2, 3, 5, 3, 4, 8]]
    assert packed.positions_1T.tolist() == [[0, 1, 2, 3, 2, 0, 1]]
    assert packed.labels_1T.tolist() == [[-100, -100, 5, 6, 7, 8, 9]]


def test_keys_given_once_for_each_head_are_those_that_heads_share():
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 6, 5, 8, generator=generator)
    key, value = (torch.randn(2, 2, 5, 8, generator=generator) for _ in range(2))
    attend = torch.nn.functional.scaled_dot_product_attention
    shared = attend(query, key, value, enable_gqa=True)
    assert torch.allclose(attend(query, _repeated(key, 3), _repeated(value, 3)), shared, atol=1e-6)


def test_padding_comes_off():
    ids = torch.tensor([[0, 1, 2, 3, 0], [4, 5, 6, 7, 8]])
    mask = torch.tensor([[0, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
    assert rows_of(ids, mask, 2) == [Row(prompt=[1, 2], completion=[3]), Row(prompt=[4, 5, 6], completion=[7, 8])]


def test_groups_stay_together_when_they_are_shuffled():
    torch.manual_seed(0)
    rows = torch.arange(24)
    made = shuffle_groups({"advantages": rows.float(), "ids": rows[:, None], "total": torch.tensor(7), "no": None}, 4)
    assert made["ids"].flatten().tolist() == made["advantages"].int().tolist() != list(range(24))
    groups = made["ids"].view(6, 4)
    assert (groups == groups[:, :1] + torch.arange(4)).all()
    assert sorted(groups[:, 0].tolist()) == [0, 4, 8, 12, 16, 20]
    assert made["total"].item() == 7 and made["no"] is None


def test_the_models_own_calls_are_unchanged_once_our_attention_is_installed(random_model, tmp_path):
    trainer = make_trainer(random_model, tmp_path)
    model = trainer.model.get_base_model().eval()
    assert model.config._attn_implementation == ATTENTION
    ids = torch.randint(5, 700, (3, 11), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    with torch.no_grad():
        ours = model(ids, attention_mask=mask).logits
        model.set_attn_implementation("sdpa")
        theirs = model(ids, attention_mask=mask).logits
    assert torch.equal(ours[mask.bool()], theirs[mask.bool()])


def test_an_empty_batch_is_refused(random_model, tmp_path):
    trainer = make_trainer(random_model, tmp_path)
    with pytest.raises(ValueError, match="no row of the batch has a completion token"):
        logprobs_of_rows(trainer.model, [Row(prompt=[1], completion=[])], 1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"model_type": "gemma2"}, "the model type 'gemma2' is not one of llama, qwen2, qwen3, mistral"),
        ({"sliding_window": 8, "use_sliding_window": True}, "the model attends in a sliding window"),
        ({"sliding_window": 8, "use_sliding_window": False}, ""),
    ],
)
def test_models_that_cannot_be_packed_say_why(changes, reason, random_model):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(random_model)
    for name, value in changes.items():
        setattr(model.config, name, value)
    assert unsupported_reason(model) == reason


def test_trl_is_what_we_compare_with():
    assert Trainer._compute_loss is not GRPOTrainer._compute_loss
    assert Trainer.__mro__[1:3] == (SteadyTrainer, GRPOTrainer)


@pytest.mark.parametrize("change", [{"entropy_coef": 0.1}, {"use_adaptive_entropy": True}])
def test_with_an_entropy_bonus_every_row_is_computed(change, random_model, tmp_path):
    trainer = make_trainer(random_model, tmp_path)
    assert trainer._may_leave_rows_out()
    for name, value in change.items():
        setattr(trainer.args, name, value)
    assert not trainer._may_leave_rows_out()
