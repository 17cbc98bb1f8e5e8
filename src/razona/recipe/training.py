"""The recipe's sections `rollout`, `train` and `guard`: how the policy is sampled, moved and looked after."""

from typing import Literal

from pydantic import Field

from razona.recipe.section import Section, Text


class VllmSection(Section):
    """How vLLM samples, where `rollout.engine` is `vllm`."""

    mode: Literal["colocate", "server"] = "colocate"
    """`colocate` (TRL's default): an engine in each training process, beside the policy on its GPU. `server`: one that
    `vllm serve` runs on GPUs of its own."""
    server_host: Text = "0.0.0.0"
    """Where the server listens (TRL's default). Only read with `server`."""
    server_port: int = Field(default=8000, ge=1, le=65_535)
    """Its port (TRL's default). Only read with `server`."""
    gpu_memory_utilization: float = Field(default=0.3, gt=0, lt=1)
    """Share of each GPU's memory that the engine takes for weights, keys and values (TRL's default). Only read with
    `colocate`."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    """GPUs that share one engine; must divide the number of processes. 1 (TRL's default): each has its own. Only read
    with `colocate`."""
    enable_sleep_mode: bool = False
    """Frees the engine's memory while the policy is trained; waking it up takes time. Off is TRL's default. Only read
    with `colocate`."""
    correction: Literal["none", "token_mask", "token_truncate", "sequence_mask", "sequence_truncate"] = "sequence_mask"
    """How the loss is weighted for the distance between vLLM's probabilities and the policy's. `sequence_mask` (TRL's
    default) weighs a completion by their ratio and leaves it out above 3; `token_*` weighs each token; `*_truncate`
    caps the ratio there. `none` takes vLLM's samples for the policy's own."""


class RolloutSection(Section):
    """How completions are sampled from the policy during training."""

    engine: Literal["native", "transformers", "vllm"] = "native"
    """What samples. `native` is our own loop over the policy's weights, for the Llama, Qwen2 and Qwen3 families; for
    other models, and by request, transformers' forward does it. `vllm` needs an NVIDIA GPU and `razona[vllm]`."""
    vllm: VllmSection | None = None
    """null: the defaults of that section. Only with engine `vllm`."""
    max_slots: int | None = Field(default=None, ge=1)
    """Completions that `native` runs at a time: bounds the memory of their keys and values. null: all of a step."""
    compile: bool = False
    """Let torch compile the step in which `native` decodes one token a row. Takes half a minute at the first step, and
    a few seconds in later runs; needs a C++ compiler. For runs of hundreds of steps."""
    group_size: int = Field(default=8, ge=2)
    """Completions per problem (8 is TRL's `num_generations`). GRPO compares them with each other, hence at least 2."""
    max_completion_tokens: int = Field(default=96, ge=1)
    """Tokens after the prompt. A completion that reaches the limit counts as truncated. 96 is our demo, whose
    solutions are short; a model that thinks aloud needs 1024 and more."""
    temperature: float = Field(default=1.0, gt=0)
    """1.0 samples the policy itself (TRL's default); anything else makes rollout and trained policy differ."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Samples among the likeliest tokens with this total probability. 1.0 switches it off (TRL's default)."""
    top_k: int = Field(default=0, ge=0)
    """Samples among this many likeliest tokens. 0 switches it off (TRL's default)."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Leaves out tokens less likely than this share of the likeliest one. 0 switches it off (TRL's default)."""


class TrainSection(Section):
    """How the policy is moved."""

    method: Literal["grpo", "sft", "sft_then_grpo"] = "grpo"
    """`grpo`: Group Relative Policy Optimization, arXiv:2402.03300. `sft`: supervised fine-tuning, as the section `sft`
    says. `sft_then_grpo`: a short fine-tuning, then GRPO goes on with the same weights."""
    steps: int = Field(default=50, ge=1)
    """Optimizer updates. Our demo takes 40."""
    completions_per_step: int = Field(default=256, ge=2)
    """Completions of one update over all processes, which each take as many whole groups. 256 is our demo: 32 groups
    of 8."""
    sampling: Literal["uniform", "informative"] = "uniform"
    """Which problems a step samples. `uniform`: one after the other. `informative`: groups whose rewards are all equal
    teach nothing, so a step samples more until it has enough others (dynamic sampling, DAPO, arXiv:2503.14476), and
    problems that were always or never solved come back later."""
    sampling_rounds: int = Field(default=3, ge=1)
    """With `informative`: how often a step samples at most, each round for the groups that are still missing. If they
    do not suffice, groups that teach nothing fill the step."""
    resample_below: float = Field(default=1.0, gt=0, le=1)
    """With `informative`: a step samples again only where less than this share of its first groups has signal. 1 is
    DAPO's. Our demo takes 0.6: a second round for a few groups takes half as long as the first and teaches little."""
    compile: bool = False
    """Let torch compile the layers for the training pass. Only where they run in bf16 products on a CPU. As
    `rollout.compile`: for runs of hundreds of steps, and it needs a C++ compiler."""
    microbatch_size: int = Field(default=64, ge=1)
    """Completions per backward pass of one process; must divide its share of `completions_per_step`. Changes memory and
    speed, not the gradient. 64 is our demo."""
    learning_rate: float = Field(default=1e-5, gt=0)
    """AdamW's peak. 1e-5 is TRL's advice for LoRA ("LoRA Without Regret"; 1e-6 without an adapter). Small models
    bear far more: see the shipped recipe `demo`."""
    warmup_steps: int = Field(default=3, ge=0)
    """Steps over which the learning rate rises to its peak. 0: none. 3 is our demo."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """The learning rate after the warm-up: kept, or brought down to 0 at the last step (our demo keeps it)."""
    loss_type: Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"] = "dapo"
    """TRL's names, TRL's default. `dapo` weighs every token of a step alike (arXiv:2503.14476)."""
    kl_weight: float = Field(default=0.0, ge=0)
    """Weight of the KL to the untrained model, TRL's `beta`. 0 (TRL's default) loads no reference model."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """The probability ratio is clipped at 1 - clip_low (PPO, arXiv:1707.06347; TRL's `epsilon`)."""
    clip_high: float = Field(default=0.28, gt=0)
    """The probability ratio is clipped at 1 + clip_high (DAPO, arXiv:2503.14476; TRL's `epsilon_high`). `cispo`
    clips its weight there: 5.0 (arXiv:2510.13786)."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """By whose standard deviation advantages are divided. `group` is GRPO and TRL's default; `none` is Dr. GRPO,
    arXiv:2503.20783."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients with a larger norm are scaled down to it (transformers' default). 0 switches it off."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's (transformers' default). 0 switches it off."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of data order, sampling and adapter weights: equal seeds give equal runs on equal machines. Below 2^32,
    numpy's limit."""
    save_every: int = Field(default=10, ge=1)
    """Steps between checkpoints. 10 is our demo: an interruption costs at most 9 steps."""
    max_failed_saves: int = Field(default=3, ge=0)
    """Checkpoints in a row that the disk may not take, tried after each step, before the run ends; 0: the first ends
    it. 3 (our choice) is time to make room, and few steps to lose."""
    grace_s: float = Field(default=30.0, gt=0)
    """Seconds from SIGTERM, SIGINT or SIGUSR1 to the end of the process, the writing of a checkpoint not counted. 30 is
    SLURM's KillWait; give less than your cluster does. In one process a step that is not done after half of it is left,
    and the checkpoint is that of the step before."""
    watchdog_minutes: float | None = Field(default=30.0, gt=0)
    """Without a sign of life for so long, the stage and the stacks of all threads are told; the run goes on. 30 is what
    processes wait for each other (our choice). null: never."""
    max_updates_left_out: int = Field(default=5, ge=1)
    """Updates in a row that may be left out because a loss or a gradient is NaN or infinite; then the run stops with a
    checkpoint (our choice)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the arithmetic. `auto` is bfloat16 on a GPU that has it and on a CPU with instructions for it (AMX), float32
    elsewhere. On a CPU only large products are, of sampling and of the training pass (where an adapter is a plain
    LoRA); a model whose batches cannot be packed trains under autocast, by `bfloat16` alone."""


class GuardSection(Section):
    """How the run looks after itself: it measures the policy on problems that it does not train on, keeps the best,
    goes back to it after a collapse, and can stop early.
    """

    every: int = Field(default=0, ge=0)
    """Steps between two measurements; the first is before step 1, another after the last step. 0: none is made, and the
    run ends with its last weights. Our demo takes 10."""
    num_problems: int = Field(default=64, ge=2)
    """Problems of a measurement, the same each time. From `tasks` they are generated beside the training's and the
    comparison's; a file or hub data set gives them up. With 64 x 4 the paired 95 % interval is at most +-9 points
    wide (our demo)."""
    samples: int = Field(default=4, ge=1)
    """Completions per problem, at `evaluate.temperature`."""
    patience: int | None = Field(default=None, ge=1)
    """Measurements without a new best after which the run stops. null: it goes to its last step."""
    collapse: float = Field(default=0.15, gt=0, lt=1)
    """Fall of the accuracy below the best, from 0 to 1, beyond which the run goes back to the best weights, at half the
    learning rate; the fall's paired 95 % interval must exclude 0, too. 0.15 is well beyond the 9 points of that
    interval on 64 x 4 (our choice)."""
    max_rollbacks: int = Field(default=2, ge=0)
    """How often it goes back. At the next collapse it stops, with the best weights (our choice)."""
