"""The layers of the training pass through torch's compiler: the gradient is TRL's but for rounding."""

from contextlib import nullcontext

import pytest
import torch
from compilers import needs_compiler, programs
from peft import LoraConfig, get_peft_model
from small_models import MODELS, TARGETS, made, prompts
from test_train_packed import batch, make_trainer, outcome, relative_difference

from razona.core.errors import MachineError, RecipeError
from razona.recipe import load
from razona.train.attention import install
from razona.train.compiled import compile_layers
from razona.train.packed import pack

BF16, COMPILED = "train.precision=bfloat16", "train.compile=true"


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("changes", [["lora.rank=16"], pytest.param(["lora=null"], marks=pytest.mark.long)])
def test_the_gradient_is_trls_but_for_rounding(changes, random_model, tmp_path):
    theirs = outcome(make_trainer(random_model, tmp_path / "theirs", *changes), large(), is_packed=False)
    before = programs()
    trainer = make_trainer(random_model, tmp_path / "ours", *changes, BF16, COMPILED)
    apart = relative_difference(theirs, outcome(trainer, large(), is_packed=True))
    assert 1e-5 < apart < 0.1
    compiled = programs()
    assert compiled == before + 4  # before attention and behind it, for the first layer and for all others
    fewer = {
        name: value[:8] if isinstance(value, torch.Tensor) and value.dim() else value for name, value in large().items()
    }
    trainer.filled_to = 64
    outcome(trainer, fewer, is_packed=True)
    assert programs() == compiled


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("has_adapter", [True, False], ids=["adapter", "its base"])
def test_the_layers_of_each_family_are_the_plain_ones_but_for_rounding(name, has_adapter):
    """Not compiled: what is compiled is this code, and the compiler has tests of its own."""
    model = get_peft_model(made(name), LoraConfig(r=16, target_modules=TARGETS, init_lora_weights=False))
    plain = model.get_base_model()
    install(plain, has_short_products=True)
    packed = pack(prompts(4), prompts(4), torch.device("cpu"), 64)

    def outcome_of_layers() -> torch.Tensor:
        with nullcontext() if has_adapter else model.disable_adapter(), torch.set_grad_enabled(has_adapter):
            hidden = plain.model(
                input_ids=packed.ids_1T,
                position_ids=packed.positions_1T,
                attention_mask=packed.ids_1T.new_ones(1, 1, 1, 1, dtype=torch.bool),
                razona_layout=packed.layout,
            ).last_hidden_state[0, : -packed.layout.num_fillers]
        if not has_adapter:
            return hidden
        model.zero_grad()
        (hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)).sum().backward()
        return torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])

    wanted = outcome_of_layers()
    compile_layers(plain)
    with torch.compiler.set_stance("force_eager"):
        found = outcome_of_layers()
    assert 0 < (found - wanted).norm() / wanted.norm() < 0.05


def large() -> dict[str, torch.Tensor]:
    return batch(has_old=True, has_reference=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["train.precision=float32"], "bf16 products on a CPU, and here they do not: train.precision is float32"),
        ([BF16, "lora.rank=1"], "a rank r with 6 r"),
        ([BF16, "lora.rank=16", "lora.dropout=0.1"], "lora.dropout 0"),
    ],
)
def test_layers_that_the_programs_do_not_cover_are_refused(changes, words, random_model, tmp_path):
    with pytest.raises(MachineError, match=words):
        make_trainer(random_model, tmp_path, *changes, COMPILED)


@pytest.mark.parametrize("name", ["rollout", "train"])
def test_a_fine_tuning_has_nothing_to_compile(name):
    with pytest.raises(RecipeError, match=f"{name}.compile: true compiles parts of a GRPO step"):
        load("demo", ["train.method=sft", f"{name}.compile=true"])
