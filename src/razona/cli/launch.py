"""`razona train --num-processes N`: which processes are started, where, and with which of accelerate's settings.

Each runs the same `razona train` without the options below.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from razona.cli.processes import Launch, run_processes
from razona.core.environment import describe_command
from razona.core.errors import MachineError, RecipeError
from razona.core.launch import sharding
from razona.core.rundir import RunDir
from razona.core.terminal import say

if TYPE_CHECKING:
    from razona.recipe import Recipe


class Sharding(StrEnum):
    """What is shared out to the processes beside the data; each but `none` has a file in `sharding/`."""

    NONE = "none"
    FSDP2 = "fsdp2"
    ZERO2 = "deepspeed-zero2"
    ZERO3 = "deepspeed-zero3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of `razona train` about processes; None where one was not given."""

    num_processes: int | None = None
    num_machines: int | None = None
    machine_rank: int | None = None
    main_address: str | None = None
    main_port: int | None = None
    sharding: Sharding = Sharding.NONE
    accelerate_config: Path | None = None

    def wants_several(self) -> bool:
        """Say whether processes are to be started; one that holds the whole model need not be.

        Raises:
            RecipeError: an option is given that means nothing without `--num-processes`.
        """
        if self.num_processes is not None:
            return self.num_processes > 1 or self != Asked(num_processes=1) or "WORLD_SIZE" in os.environ
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "num_processes"}
        idle = [name for name, value in given.items() if value not in (None, Sharding.NONE)]
        if idle:
            raise RecipeError(
                f"--{idle[0].replace('_', '-')} {given[idle[0]]} says how to start processes, and --num-processes is "
                "missing. Give it: the number of processes over all machines."
            )
        return False


def launch(asked: Asked, recipe: "Recipe", folder: Path, arguments: Sequence[str]) -> int:
    """Train in several processes and give the exit code of the whole, as `run_processes` does.

    Nothing is started and no folder is touched where the processes do not fit the recipe or the machine.

    Args:
        arguments: of the `razona` that each process runs.

    Raises:
        RecipeError: the options contradict each other, or a step cannot be shared out by whole groups.
        MachineError: the machine has fewer GPUs than processes, or DeepSpeed is asked for and not there.
    """
    from razona.recipe.checks import check_num_processes, check_sharding

    planned = replace(plan(asked), grace_s=recipe.train.grace_s)
    train, rollout = recipe.train, recipe.rollout
    check_num_processes(planned.num_processes, rollout.group_size, train.microbatch_size, train.completions_per_step)
    environment = environment_of(planned)
    check_sharding(train.method, recipe.model.load_in_4bit, sharding(environment))
    unwise = check_machine(planned)
    if unwise:
        say(f"razona: {unwise}", to_stderr=True)
    again = describe_command(sys.argv) + ("" if "--resume" in sys.argv else " --resume")
    command = [sys.executable, "-m", "razona", *arguments]
    return run_processes(planned, command, environment, RunDir(folder), again)


def plan(asked: Asked) -> Launch:
    """Give the launch that the options ask for.

    Raises:
        RecipeError: they contradict each other, the file of settings, or a launch that has already happened.
    """
    num_processes, machines, machine_rank = asked.num_processes or 1, asked.num_machines or 1, asked.machine_rank
    if "WORLD_SIZE" in os.environ:
        raise RecipeError(
            f"--num-processes {num_processes}: this process was started as one of several already (WORLD_SIZE = "
            f"{os.environ['WORLD_SIZE']} is set). Leave out --num-processes and what belongs to it, or leave out "
            "torchrun or accelerate launch (and unset WORLD_SIZE)."
        )
    if asked.accelerate_config is not None and asked.sharding is not Sharding.NONE:
        raise RecipeError(
            f"--sharding {asked.sharding} and --accelerate-config {asked.accelerate_config}: the file says how to "
            "shard. Leave out one of the two."
        )
    path = asked.accelerate_config or shipped_config(asked.sharding)
    if path is not None:
        _check_config(path, num_processes=num_processes, num_machines=machines)
    if num_processes % machines:
        raise RecipeError(
            f"--num-processes {num_processes} counts the processes of all machines and is no multiple of "
            f"--num-machines {machines}. Give --num-processes {machines * max(1, round(num_processes / machines))}."
        )
    others = {"--machine-rank": machine_rank, "--main-address": asked.main_address, "--main-port": asked.main_port}
    alone = [f"{option} {value}" for option, value in others.items() if value is not None]
    if asked.num_machines is None and alone:
        raise RecipeError(
            f"{alone[0]} says how machines find each other, and there is one. Leave it out, or give --num-machines."
        )
    is_placed = asked.main_address is not None and machine_rank is not None
    if (machine_rank or 0) >= machines or (machines > 1 and not is_placed):
        raise RecipeError(
            f"--num-machines {machines} needs --main-address, the same on all machines and an address of machine 0, "
            f"and --machine-rank, 0 to {machines - 1}, another on each; got {asked.main_address} and {machine_rank}."
        )
    return Launch(
        num_processes=num_processes,
        num_machines=machines,
        machine_rank=machine_rank or 0,
        main_address=asked.main_address,
        main_port=asked.main_port,
        accelerate_config=path,
    )


def shipped_config(asked: Sharding) -> Path | None:
    """Give the file of accelerate's settings that ships for a way of sharding; None for none."""
    if asked is Sharding.NONE:
        return None
    return Path(str(files("razona.cli") / "sharding" / f"{asked}.yaml"))


def _check_config(path: Path, *, num_processes: int, num_machines: int) -> None:
    """Refuse a file of accelerate's settings that is unreadable, says another thing than the options, or is not ours.

    Raises:
        RecipeError: with the key.
    """
    import yaml

    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        first_line = str(error).split("\n")[0]
        raise RecipeError(f"--accelerate-config {path}: it cannot be read: {first_line}") from None
    if not isinstance(settings, dict) or "distributed_type" not in settings:
        raise RecipeError(
            f"--accelerate-config {path}: expected accelerate's settings, with distributed_type among them, as "
            "`accelerate config` writes them."
        )
    kind = str(settings["distributed_type"])
    if kind not in ("NO", "MULTI_CPU", "MULTI_GPU", "FSDP", "DEEPSPEED"):
        raise RecipeError(
            f"--accelerate-config {path}: distributed_type is {kind}; razona train knows MULTI_GPU, FSDP and DEEPSPEED."
        )
    version = (settings.get("fsdp_config") or {}).get("fsdp_version", 1)
    if kind == "FSDP" and str(version) != "2":
        raise RecipeError(
            f"--accelerate-config {path}: fsdp_config.fsdp_version is {version}; razona train knows FSDP2. Set it to 2 "
            "(`accelerate to-fsdp2` converts a file)."
        )
    precision = str(settings.get("mixed_precision") or "no").lower()
    if precision not in ("no", "false"):
        raise RecipeError(
            f"--accelerate-config {path}: mixed_precision is {precision}; here the recipe decides. Set it to 'no', and "
            "train.precision in the recipe."
        )
    for key, option, given in (
        ("num_processes", "--num-processes", num_processes),
        ("num_machines", "--num-machines", num_machines),
    ):
        if settings.get(key, given) != given:
            raise RecipeError(
                f"--accelerate-config {path}: {key} is {settings[key]}, and {option} says {given}. Make them equal, or "
                f"remove {key} from the file."
            )


def check_machine(launch: Launch) -> str:
    """Say what is unwise about this many processes on this machine; "" where nothing is.

    Raises:
        MachineError: there are GPUs, but fewer than processes, or DeepSpeed is asked for and not there.
    """
    import torch

    here, gpus = launch.processes_here, torch.cuda.device_count()
    if 0 < gpus < here:
        raise MachineError(
            f"--num-processes {launch.num_processes} on {launch.num_machines} machine(s) is {here} for this one, which "
            f"has {gpus} GPU(s); each process needs one. Give --num-processes {gpus * launch.num_machines}, or fewer."
        )
    cores = len(os.sched_getaffinity(0))
    if gpus == 0 and here > cores:
        return (
            f"{here} processes share the {cores} core(s) of this machine, so they take turns; "
            f"--num-processes {cores * launch.num_machines} would be faster."
        )
    return ""


def environment_of(launch: Launch) -> dict[str, str]:
    """Give what accelerate's settings mean for the environment of the processes, by accelerate's own launcher.

    Raises:
        MachineError: they ask for DeepSpeed, which is not installed.
        RecipeError: accelerate refuses them.
    """
    if launch.accelerate_config is None:
        return {}
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils import is_deepspeed_available
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    # How the processes find each other is the agent's business: a free port keeps accelerate's own check of it quiet.
    command = ["--config_file", str(launch.accelerate_config), "--num_processes", str(launch.num_processes)]
    command += ["--num_machines", "1", "--main_process_port", "0", "--num_cpu_threads_per_process", "1", "razona"]
    try:
        arguments, defaults, _ = _validate_launch_command(launch_command_parser().parse_args(command))
        if arguments.use_deepspeed and not is_deepspeed_available():
            raise MachineError(
                f"--accelerate-config {launch.accelerate_config} asks for DeepSpeed, which is not installed. "
                "Install it (pip install deepspeed), or take --sharding fsdp2."
            )
        if arguments.use_deepspeed:
            fields_set = getattr(defaults, "deepspeed_config", None) or {}
            arguments.deepspeed_fields_from_accelerate_config = ",".join(fields_set)
            environment = prepare_deepspeed_cmd_env(arguments)[1]
        else:
            environment = prepare_multi_gpu_env(arguments)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"--accelerate-config {launch.accelerate_config}: accelerate refuses it: {error}") from None
    ours = ("OMP_NUM_THREADS", "PYTHONPATH", "ACCELERATE_MIXED_PRECISION")
    return {name: value for name, value in environment.items() if os.environ.get(name) != value and name not in ours}
