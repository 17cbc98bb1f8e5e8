"""A model whose weights are shared out to the processes: gathered where all of them are read, and to be kept.

Under FSDP2 a module gathers its weights for its own forward pass, so the training pass needs nothing from here. Our
sampling reads the weights beside the modules, and what is saved must be whole.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from accelerate import Accelerator, DistributedType, PartialState
from peft import PeftModel
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule

from razona.core.launch import sharding


def admit_sharding_on_cpu() -> None:
    """Have accelerate shard on a CPU as it does on GPUs; where no FSDP is asked for, do nothing.

    accelerate 1.15 turns FSDP on for processes with accelerators alone, and on CPUs it would train unsharded without a
    word. Of the state that it looks at, the kind of processes is all that stands in the way. To be called after
    transformers has made that state, and before it makes the `Accelerator`.
    """
    if sharding() == "fsdp" and not torch.cuda.is_available():
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def unpackable_reason(accelerator: Accelerator) -> str:
    """Give why our packed training pass must not run on this accelerator's models; "" where it may.

    It reads the weights of several projections at once. FSDP2 has gathered a whole layer by then; DeepSpeed gathers
    each projection by itself, when it is called.
    """
    return "DeepSpeed shards the model" if accelerator.distributed_type is DistributedType.DEEPSPEED else ""


def is_sampled_here(accelerator: Accelerator, engine: str) -> bool:
    """Say whether a process can sample with our engine; else TRL's own code samples.

    That is so where it holds the whole model, and under FSDP2 where the engine reads gathered weights: transformers'
    forward would gather them anew for each token, and wait for processes that sample fewer.
    """
    if accelerator.distributed_type is DistributedType.FSDP:
        return engine == "native"
    return accelerator.distributed_type is not DistributedType.DEEPSPEED


@contextmanager
def whole_weights(model: torch.nn.Module) -> Iterator[None]:
    """Let each process hold all weights of the model for the length of the body; do nothing where it does anyway.

    All processes must come here together. In the body they need not act alike, but no forward of the model may run.
    """
    shards = [module for module in model.modules() if isinstance(module, FSDPModule)]
    try:
        for shard in shards:
            shard.unshard()
        yield
    finally:
        for shard in shards:
            shard.reshard()


def weights_to_save(accelerator: Accelerator, model: torch.nn.Module | None) -> Mapping[str, torch.Tensor] | None:
    """Give what `save_pretrained` needs to be told of a sharded model; None where the model says it itself.

    All processes must come here together; the main one alone gets the weights, of the adapter where there is one.

    Args:
        model: as accelerate has prepared it.
    """
    assert model is not None  # transformers' trainer says that it may be
    if accelerator.distributed_type is DistributedType.DEEPSPEED:
        return cast(dict[str, torch.Tensor], accelerator.get_state_dict(model))
    if not any(isinstance(module, FSDPModule) for module in model.modules()):
        return None
    options = StateDictOptions(
        full_state_dict=True, cpu_offload=True, ignore_frozen_params=isinstance(model, PeftModel)
    )
    weights = cast(dict[str, torch.Tensor], get_model_state_dict(model, options=options))
    first_name: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = first_name.setdefault(id(parameter), name)
        if name in weights and first in weights:
            weights[name] = weights[first]  # tied ones are one tensor again, which is saved once
    return weights
