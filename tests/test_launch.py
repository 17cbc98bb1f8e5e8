"""`razona train --num-processes`: what is refused before anything starts, and what each process gets."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from razona.cli import launch as launch_module
from razona.cli.launch import Asked, Sharding, check_machine, environment_of, plan, shipped_config
from razona.cli.main import app
from razona.cli.processes import Launch
from razona.cli.train import train_command
from razona.core.errors import MachineError, RecipeError
from razona.core.rundir import RunDir

SIXTEEN = ["--set", "train.completions_per_step=16", "--set", "train.microbatch_size=8"]
"""Two groups of eight: two processes can share them, three cannot."""


@pytest.fixture(autouse=True)
def unlaunched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What would have been started: nothing is."""
    calls: list[tuple] = []

    def run(*given: object) -> int:
        calls.append(given)
        return 0

    monkeypatch.setattr(launch_module, "run_processes", run)
    return calls


def refusal(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["train", "demo", *arguments])
    assert isinstance(done.exception, RecipeError | MachineError), done.output
    return str(done.exception)


def test_each_process_gets_every_option_but_those_of_the_launch(started: list[tuple], tmp_path: Path):
    looked_for = ["--allow", "memory", "--allow", "disk", "--against", "rows.jsonl"]
    given = [*SIXTEEN, *looked_for, "--out", str(tmp_path), "--resume", "--json"]
    launching = ["--num-processes", "4", "--num-machines", "2", "--machine-rank", "1", "--main-address", "10.0.0.7",
                 "--main-port", "2000", "--set", "train.completions_per_step=32"]  # fmt: skip
    done = CliRunner().invoke(app, ["train", "demo", *given, *launching])
    assert done.exit_code == 0, done.output
    planned, command, environment, run, again = started[0]
    assert planned == Launch(
        num_processes=4, num_machines=2, machine_rank=1, main_address="10.0.0.7", main_port=2000, accelerate_config=None
    )
    sets = [*SIXTEEN, "--set", "train.completions_per_step=32"]
    assert command == [
        sys.executable, "-m", "razona", "train", "demo", *sets, *looked_for,
        "--out", str(tmp_path), "--resume", "--json",
    ]  # fmt: skip
    assert environment == {} and run == RunDir(tmp_path) and again.endswith(" --resume")
    done = CliRunner().invoke(app, ["train", "demo", *SIXTEEN, "--no-check", "--num-processes", "2"])
    assert done.exit_code == 0 and started[1][1][-1] == "--no-check"
    passed_on = {"recipe_name", "out", "overrides", "resume", "as_json", "allow", "against", "no_check"}
    assert set(inspect.signature(train_command).parameters) == passed_on | set(Asked.__dataclass_fields__)


def test_one_process_needs_no_launch():
    assert not Asked(num_processes=1).wants_several() and not Asked().wants_several()
    assert Asked(num_processes=2).wants_several()
    assert Asked(num_processes=1, sharding=Sharding.FSDP2).wants_several()


def test_processes_that_do_not_fit_the_step_are_refused_before_anything_starts(started: list[tuple], tmp_path: Path):
    said = refusal(*SIXTEEN, "--out", str(tmp_path / "run"), "--num-processes", "3")
    assert "over 3 processes is 5.33333 for each" in said and "processes to one of [1, 2]" in said
    assert started == [] and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("train.method=sft", "train.method = sft fine-tunes, which knows no sharding (here: fsdp)"),
        ("model.load_in_4bit=true", "model.load_in_4bit: weights packed in 4 bits are not shared out (here: fsdp)"),
    ],
)
def test_what_cannot_be_sharded_is_refused_before_anything_starts(key: str, said: str, started: list[tuple]):
    assert said in refusal(*SIXTEEN, "--set", key, "--num-processes", "2", "--sharding", "fsdp2")
    assert started == []


def test_a_second_launch_names_both_and_says_what_to_leave_out(started: list[tuple], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for number in ("1", "2"):
        said = refusal(*SIXTEEN, "--num-processes", number)
        assert f"--num-processes {number}" in said and "WORLD_SIZE = 2" in said
        assert "Leave out --num-processes" in said and "leave out torchrun or accelerate launch" in said
    assert started == []


CONTRADICTIONS = [
    (["--num-machines", "2"], "--num-machines 2 says how to start processes, and --num-processes is missing"),
    (["--machine-rank", "0"], "--machine-rank 0 says how to start processes"),
    (["--sharding", "fsdp2"], "--sharding fsdp2 says how to start processes"),
    (["--num-processes", "2", "--machine-rank", "0"], "--machine-rank 0 says how machines find each other, and there"),
    (["--num-processes", "2", "--main-port", "29500"], "--main-port 29500 says how machines find each other"),
    (["--num-processes", "2", "--num-machines", "1", "--machine-rank", "1"], "--machine-rank, 0 to 0"),
    (["--num-processes", "2", "--num-machines", "2", "--machine-rank", "0"], "needs --main-address"),
    (["--num-processes", "2", "--num-machines", "2", "--main-address", "a"], "--machine-rank, 0 to 1"),
    (["--num-processes", "2", "--num-machines", "2", "--main-address", "a", "--machine-rank", "2"], "got a and 2"),
    (["--num-processes", "3", "--num-machines", "2", "--main-address", "a", "--machine-rank", "0"], "no multiple of"),
    (
        ["--num-processes", "2", "--sharding", "fsdp2", "--accelerate-config", "a.yaml"],
        "--sharding fsdp2 and --accelerate-config a.yaml",
    ),
]


@pytest.mark.parametrize(("arguments", "said"), CONTRADICTIONS)
def test_options_that_contradict_each_other_are_refused_by_name(arguments, said, started: list[tuple]):
    assert said in refusal(*SIXTEEN, *arguments)
    assert started == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (None, "it cannot be read"),
        ("- 1", "distributed_type among them"),
        ("distributed_type: MEGATRON_LM", "distributed_type is MEGATRON_LM"),
        ("distributed_type: FSDP\nfsdp_config: {fsdp_version: 1}", "fsdp_version is 1; razona train knows FSDP2"),
        ("distributed_type: MULTI_GPU\nmixed_precision: bf16", "mixed_precision is bf16; here the recipe decides"),
        ("distributed_type: MULTI_GPU\nnum_processes: 8", "num_processes is 8, and --num-processes says 2"),
        ("distributed_type: MULTI_GPU\nnum_machines: 2", "num_machines is 2, and --num-machines says 1"),
        ("distributed_type: MULTI_GPU\nno_such_key: 2", "accelerate refuses it"),
    ],
)
def test_settings_of_accelerate_that_would_not_be_followed_are_refused(settings, said, started, tmp_path: Path):
    path = tmp_path / "settings.yaml"
    if settings is not None:
        path.write_text(settings)
    assert said in refusal(*SIXTEEN, "--num-processes", "2", "--accelerate-config", str(path))
    assert started == []


def test_fewer_gpus_than_processes_of_this_machine_are_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert check_machine(Launch(num_processes=2)) == ""
    assert check_machine(Launch(num_processes=4, num_machines=2, main_address="a")) == ""
    with pytest.raises(MachineError) as refused:
        check_machine(Launch(num_processes=8, num_machines=2, main_address="a"))
    assert "is 4 for this one, which has 2 GPU(s)" in str(refused.value)
    assert "Give --num-processes 4" in str(refused.value)


def test_more_processes_than_cores_are_told_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    assert check_machine(Launch(num_processes=2)) == ""
    assert check_machine(Launch(num_processes=3)).startswith("3 processes share the 2 core(s)")


def settings_of(sharding: Sharding) -> dict[str, str]:
    return environment_of(plan(Asked(num_processes=2, sharding=sharding)))


def test_fsdp2_of_accelerate_shards_by_layers_and_keeps_checkpoints_whole():
    settings = settings_of(Sharding.FSDP2)
    assert settings["ACCELERATE_USE_FSDP"] == "true" and settings["FSDP_VERSION"] == "2"
    assert settings["FSDP_STATE_DICT_TYPE"] == "FULL_STATE_DICT"
    assert settings["FSDP_AUTO_WRAP_POLICY"] == "TRANSFORMER_BASED_WRAP"
    assert settings["FSDP_CPU_RAM_EFFICIENT_LOADING"] == "false"
    assert "ACCELERATE_MIXED_PRECISION" not in settings and "OMP_NUM_THREADS" not in settings
    assert settings_of(Sharding.NONE) == {}


@pytest.mark.parametrize(("sharding", "stage"), [(Sharding.ZERO2, "2"), (Sharding.ZERO3, "3")])
def test_deepspeed_is_refused_where_it_is_missing_and_set_up_where_it_is_there(sharding, stage, monkeypatch):
    monkeypatch.setattr("accelerate.utils.is_deepspeed_available", lambda: False)
    with pytest.raises(MachineError, match=r"DeepSpeed, which is not installed\. Install it .* take --sharding fsdp2"):
        settings_of(sharding)
    monkeypatch.setattr("accelerate.utils.is_deepspeed_available", lambda: True)
    settings = settings_of(sharding)
    assert settings["ACCELERATE_USE_DEEPSPEED"] == "true"
    assert settings["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == stage


@pytest.mark.parametrize("sharding", [one for one in Sharding if one is not Sharding.NONE])
def test_each_way_of_sharding_ships_settings_that_leave_the_precision_to_the_recipe(sharding):
    path = shipped_config(sharding)
    assert path is not None
    settings = yaml.safe_load(path.read_text())
    assert settings["mixed_precision"] == "no" and "num_processes" not in settings


EXAMPLES = Path(__file__).parents[1] / "examples"


def command_of_example(name: str) -> str:
    """Give the script that each machine of an example runs."""
    text = (EXAMPLES / name).read_text()
    return yaml.safe_load(text)["run"] if name.endswith(".yaml") else text


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("slurm.sbatch", {"SLURM_NNODES": "2", "SLURM_NODEID": "1", "SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "n"}),
        (
            "skypilot.yaml",
            {"SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1", "SKYPILOT_NUM_GPUS_PER_NODE": "8",
             "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "RECIPE": "my-recipe.yaml", "OUT": "runs/my-run"},
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("has_begun", [False, True])
def test_an_example_runs_the_command_that_it_says(name, variables, has_begun, started, tmp_path: Path, monkeypatch):
    """Bash runs the example with stand-ins for the cluster's programs, and what razona is given is parsed for real."""
    programs = {
        "srun": '#!/bin/bash\nshift\nexec "$@"',
        "scontrol": "#!/bin/bash\nprintf '10.0.0.1\\n10.0.0.2\\n'",
        ".venv/bin/razona": f'#!/bin/bash\nprintf "%s\\n" "$@" > {tmp_path}/given',
    }
    for program, text in programs.items():
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).write_text(text)
        (tmp_path / program).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    Path("my-recipe.yaml").write_text("extends: demo\ntrain: {completions_per_step: 1024, microbatch_size: 64}\n")
    if has_begun:
        Path("runs/my-run").mkdir(parents=True)
        Path("runs/my-run/recipe.yaml").touch()
    path = f"{tmp_path}:{os.environ['PATH']}"
    environment = {**os.environ, **variables, "PATH": path, "SLURM_SUBMIT_DIR": str(tmp_path)}
    script = ["bash", "-eu", "-c", command_of_example(name)]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    arguments = (tmp_path / "given").read_text().splitlines()
    parsed = CliRunner().invoke(app, arguments)
    assert parsed.exit_code == 0, parsed.exception
    planned, command = started[0][:2]
    port = 20077 if name == "slurm.sbatch" else 29500
    assert planned == Launch(num_processes=16, num_machines=2, machine_rank=1, main_address="10.0.0.1", main_port=port)
    assert ("--resume" in command) == has_begun and command[-1 - has_begun].endswith("runs/my-run")


@pytest.mark.parametrize("name", ["slurm.sbatch"])
def test_the_batch_file_is_bash(name):
    assert subprocess.run(["bash", "-n", EXAMPLES / name], capture_output=True, check=False).stderr == b""
