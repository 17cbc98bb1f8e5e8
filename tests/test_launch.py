"""`razona train --num-processes`: what is refused before anything starts, and processes looked after to their end."""

import inspect
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from razona.cli import launch as launch_module
from razona.cli.launch import Asked, Sharding, check_machine, environment_of, plan, shipped_config
from razona.cli.main import app
from razona.cli.processes import Launch, first_failure, run_processes
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
    given = [*SIXTEEN, "--out", str(tmp_path), "--resume", "--json"]
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
        sys.executable, "-m", "razona", "train", "demo", *sets, "--out", str(tmp_path), "--resume", "--json",
    ]  # fmt: skip
    assert environment == {} and run == RunDir(tmp_path) and again.endswith(" --resume")
    passed_on = {"recipe_name", "out", "overrides", "resume", "as_json"}
    assert set(inspect.signature(train_command).parameters) == passed_on | set(Asked.__dataclass_fields__)


def test_one_process_needs_no_launch():
    assert not Asked(num_processes=1).wants_several() and not Asked().wants_several()
    assert Asked(num_processes=2).wants_several()
    assert Asked(num_processes=1, sharding=Sharding.FSDP2).wants_several()


def test_processes_that_do_not_fit_the_step_are_refused_before_anything_starts(started: list[tuple], tmp_path: Path):
    said = refusal(*SIXTEEN, "--out", str(tmp_path / "run"), "--num-processes", "3")
    assert "over 3 processes is 5.33333 for each" in said and "processes to one of [1, 2]" in said
    assert started == [] and not (tmp_path / "run").exists()


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
    (["--num-processes", "2", "--machine-rank", "1"], "how machines find each other, and there is one"),
    (["--num-processes", "2", "--main-port", "29500"], "or give --num-machines"),
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


@dataclass
class Failure:
    """What torch keeps of a process that ended badly."""

    exitcode: int
    timestamp: int = 100


@pytest.mark.parametrize(
    ("failures", "first"),
    [
        ({0: Failure(1), 1: Failure(-9)}, 1),  # 0 lost its connection to 1
        ({0: Failure(-15), 1: Failure(1)}, 1),  # 0 was told to end
        ({0: Failure(1), 1: Failure(2)}, 1),  # 0 stopped because of 1
        ({0: Failure(1, 100), 1: Failure(-9, 131)}, 0),  # 1 did not end when told to, and was killed
        ({0: Failure(1), 1: Failure(1)}, 0),
        ({2: Failure(-15), 3: Failure(-15)}, 2),
    ],
)
def test_the_process_that_failed_by_itself_is_told_from_those_that_followed(failures: Mapping, first):
    assert first_failure(failures)[0] == first


def run_fake(program: str, tmp_path: Path) -> int:
    """Run a program of two processes that needs no torch."""
    command = [sys.executable, "-c", "import os, signal, sys, time\nrank = os.environ['RANK']\n" + program]
    return run_processes(Launch(num_processes=2), command, {"ASKED": "1"}, RunDir(tmp_path), "razona go on")


PLACE = "os.write(1, (' '.join(os.environ[name] for name in {}) + chr(10)).encode())"
"""A program that says what it was told, in one piece."""


def test_processes_know_their_place_and_leave_no_trace(tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    before = dict(os.environ)
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    assert run_fake(PLACE.format(["RANK", "LOCAL_RANK", "WORLD_SIZE", "ASKED"]), tmp_path) == 0
    out, err = capfd.readouterr()
    assert sorted(out.splitlines()) == ["0 0 2 1", "1 1 2 1"] and err == ""
    assert dict(os.environ) == before
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("sys.exit(2 if rank == '1' else 1)", 2, ""),  # a mistake that process 1 has told itself
        ("sys.exit(3) if rank == '1' else time.sleep(60)", 1, "process 1 of 2 (pid "),
        ("os.kill(os.getpid(), 9) if rank == '0' else time.sleep(60)", 1, "was killed by SIGKILL (by the kernel if"),
        ("os.kill(os.getpid(), 6) if rank == '0' else time.sleep(60)", 1, "was killed by SIGABRT. The run was stopped"),
        ("os.kill(os.getpid(), 15)", 143, "razona: terminated (SIGTERM)"),
    ],
)
def test_the_end_of_one_process_ends_all_and_is_told(program, code, said, tmp_path: Path, capfd):
    checkpoint = tmp_path / "checkpoints" / "checkpoint-20"
    for step, files in (
        (10, ["trainer_state.json"]),
        (20, ["trainer_state.json"]),
        (30, ["adapter_model.safetensors"]),
    ):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        for name in files:
            (folder / name).touch()
    started_at = time.monotonic()
    assert run_fake(program, tmp_path) == code
    assert time.monotonic() - started_at < 10
    err = capfd.readouterr().err
    assert said in err and err.count("\n") == (said != "")
    if said:
        assert f"last checkpoint is {checkpoint}; go on from there with: razona go on" in err


def test_a_run_without_a_checkpoint_says_so(tmp_path: Path, capfd):
    assert run_fake("sys.exit(3)", tmp_path) == 1
    assert f"{tmp_path} holds no checkpoint of it" in capfd.readouterr().err


LAUNCHER = """
import sys
from pathlib import Path
from razona.cli.processes import Launch, run_processes
from razona.core.rundir import RunDir
command = [sys.executable, "-c", Path("worker.py").read_text()]
sys.exit(run_processes(Launch(**eval(sys.argv[1])), command, {}, RunDir(Path("run")), "razona go on"))
"""


def start_launcher(launch: str, worker: str, folder: Path) -> "subprocess.Popen[str]":
    (folder / "worker.py").write_text(worker)
    command = [sys.executable, "-c", LAUNCHER, launch]
    return subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


SLEEPER = """
import os, time
from pathlib import Path
from razona.core.launch import end_with_launcher
end_with_launcher()
Path(f"pid-{os.environ['RANK']}.tmp").write_text(str(os.getpid()))
os.rename(f"pid-{os.environ['RANK']}.tmp", f"pid-{os.environ['RANK']}")
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        (signal.SIGINT, 130, "razona: interrupted (SIGINT). run holds no checkpoint"),
        (signal.SIGKILL, -9, ""),  # no one is left to tell the processes, and they end all the same
    ],
)
def test_a_signal_to_the_launcher_ends_its_processes(sent, code, said, tmp_path: Path):
    running = start_launcher("{'num_processes': 2}", SLEEPER, tmp_path)
    try:
        places = [tmp_path / "pid-0", tmp_path / "pid-1"]
        wait_until(lambda: all(place.exists() for place in places), 60)
        pids = [int(place.read_text()) for place in places]
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        running.send_signal(sent)
        stderr = running.communicate(timeout=40)[1]
    finally:
        running.kill()
    assert running.returncode == code and said in stderr
    wait_until(lambda: not any(is_alive(pid) for pid in pids), 10)


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(is_so, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.02)


def test_two_machines_number_their_processes_through(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = "import os\n" + PLACE.format(["RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
    machines = []
    for rank in range(2):
        launch = {"num_processes": 4, "num_machines": 2, "machine_rank": rank}
        launch |= {"main_address": "127.0.0.1", "main_port": port}
        machines.append(start_launcher(repr(launch), told, tmp_path))
    try:
        said = [machine.communicate(timeout=120) for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert [machine.returncode for machine in machines] == [0, 0], said
    places = [sorted(out.splitlines()) for out, _ in said]
    assert places == [[f"{2 * rank + local} {local} 4 127.0.0.1 {port}" for local in range(2)] for rank in range(2)]
