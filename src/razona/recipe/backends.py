"""What does not go together with Unsloth and with vLLM, each with the way out.

Both take a value of the recipe and do something else with it in some places: that is refused here, by name.
"""

from razona.core.errors import RecipeError
from razona.recipe.model import LoraSection, ModelSection
from razona.recipe.training import RolloutSection, TrainSection, VllmSection

COLOCATE_ONLY = ("gpu_memory_utilization", "tensor_parallel_size", "enable_sleep_mode")
SERVER_ONLY = ("server_host", "server_port")
SERVE_OPTIONS = "--gpu-memory-utilization, --tensor-parallel-size"


def unsloth_conflict(lora: LoraSection | None, rollout: RolloutSection, train: TrainSection) -> str:
    """Give what Unsloth would not do as the recipe says, and the way out; "" where it does all of it.

    Source: unsloth 2026.10.9, models/rl.py (what its GRPOConfig and GRPOTrainer overwrite) and models/llama.py.
    """
    if train.method != "grpo":
        return (
            f"train.method: {train.method}: Unsloth rewrites the trainer of the fine-tuning, too, which nobody has "
            "held ours to. Set train.method: grpo"
        )
    if lora is None:
        return "lora: null trains all weights, and with Unsloth we train adapters. Give a lora section"
    if rollout.engine == "vllm":
        return (
            "rollout.engine: vllm is TRL's engine, which gets its weights from layers that Unsloth has rewritten. "
            "Set rollout.engine: native; Unsloth's own generate then samples"
        )
    if rollout.max_slots is not None:
        return (
            f"rollout.max_slots = {rollout.max_slots} bounds our engine alone, and Unsloth's generate runs all "
            "completions of a process at once. Set rollout.max_slots: null"
        )
    if rollout.compile:
        return (
            "rollout.compile: true compiles a step of our own engine, and Unsloth's generate samples. "
            "Set rollout.compile: false"
        )
    if train.precision == "float32":
        return (
            "train.precision: float32, and Unsloth trains in bfloat16 or float16 whatever is asked. "
            "Set train.precision: auto"
        )
    if train.loss_type == "dr_grpo" and train.scale_rewards != "none":
        return (
            f"train.scale_rewards: {train.scale_rewards} with loss_type: dr_grpo, for which Unsloth sets none. "
            "Set train.scale_rewards: none"
        )
    return ""


def check_unsloth(model: ModelSection, lora: LoraSection | None, rollout: RolloutSection, train: TrainSection) -> None:
    """Refuse `model.backend: unsloth` beside what it would do otherwise; `auto` then takes PEFT."""
    conflict = unsloth_conflict(lora, rollout, train)
    if model.backend == "unsloth" and conflict:
        raise RecipeError(f"model.backend: unsloth does not go with {conflict}, or model.backend: peft.")


def check_compile(rollout: RolloutSection, train: TrainSection) -> None:
    """Refuse what nothing would compile."""
    if train.method == "sft" and (rollout.compile or train.compile):
        name = "rollout.compile" if rollout.compile else "train.compile"
        raise RecipeError(
            f"{name}: true compiles parts of a GRPO step, and train.method: sft has none. Set {name}: false."
        )
    if rollout.compile and rollout.engine != "native":
        raise RecipeError(
            f"rollout.compile: true compiles a step of our own engine, and rollout.engine = {rollout.engine} samples. "
            "Set rollout.compile: false, or rollout.engine: native."
        )


def check_vllm(model: ModelSection, rollout: RolloutSection, train: TrainSection) -> None:
    """Refuse what vLLM would not be told, or would do to the loss what nobody asked for."""
    if rollout.engine != "vllm":
        if rollout.vllm is not None:
            raise RecipeError(
                f"rollout.vllm is set, and rollout.engine = {rollout.engine} does not read it. Set rollout.engine: "
                "vllm, or remove rollout.vllm."
            )
        return
    vllm = rollout.vllm or VllmSection()
    if rollout.max_slots is not None:
        raise RecipeError(
            f"rollout.max_slots = {rollout.max_slots} bounds `native` alone; vLLM runs as many completions as its "
            "memory holds. Set rollout.max_slots: null, and rollout.vllm.gpu_memory_utilization for the memory."
        )
    _check_mode(vllm)
    _check_correction(vllm, rollout, train)
    if model.revision is not None:
        raise RecipeError(
            f"rollout.engine: vllm loads {model.name} without model.revision = {model.revision}: TRL gives it the name "
            "alone. Download that revision and give its folder as model.name."
        )
    if model.load_in_4bit:
        raise RecipeError(
            "rollout.engine: vllm with model.load_in_4bit: the adapter would be rounded to 4 bits at each step before "
            "vLLM samples, so that another policy samples than is trained. Set rollout.engine: native, or "
            "model.load_in_4bit: false."
        )


def _check_mode(vllm: VllmSection) -> None:
    other, unread = ("server", SERVER_ONLY) if vllm.mode == "colocate" else ("colocate", COLOCATE_ONLY)
    defaults = VllmSection()
    changed = [name for name in unread if getattr(vllm, name) != getattr(defaults, name)]
    if not changed:
        return
    name = changed[0]
    way = "" if other == "server" else f" (the server has options of its own: {SERVE_OPTIONS})"
    raise RecipeError(
        f"rollout.vllm.{name} = {getattr(vllm, name)} is only read with rollout.vllm.mode: {other}, and it is "
        f"{vllm.mode}. Remove it{way}, or set rollout.vllm.mode: {other}."
    )


def _check_correction(vllm: VllmSection, rollout: RolloutSection, train: TrainSection) -> None:
    """Refuse weights of whole completions where each of their tokens makes them smaller.

    vLLM's log-probs are those after top_p, top_k and min_p, of what is left of the distribution. The policy's are of
    all of it: smaller by the log of the share that was left, at every token. Over 1,000 tokens of which 99 % of the
    distribution is left, the ratio is 0.99^1000 = 4e-5, and so is the loss.
    """
    if not vllm.correction.startswith("sequence_"):
        return
    ways = "rollout.vllm.correction: token_truncate"
    if train.loss_type == "vespo":
        raise RecipeError(
            f"train.loss_type: vespo weighs tokens, and rollout.vllm.correction = {vllm.correction} weighs whole "
            f"completions; TRL refuses the two together. Set {ways}."
        )
    cut = {"top_p": rollout.top_p < 1, "top_k": rollout.top_k > 0, "min_p": rollout.min_p > 0}
    names = [name for name, is_cut in cut.items() if is_cut]
    if names:
        raise RecipeError(
            f"rollout.{names[0]} = {getattr(rollout, names[0])} with rollout.engine: vllm and rollout.vllm.correction "
            f"= {vllm.correction}: vLLM's log-probs are of the tokens that {' and '.join(names)} left, so the weight "
            "of a completion shrinks with every token, and a long one teaches nothing. Switch off "
            f"{', '.join(names)}, or set {ways}."
        )
