"""The processes of a launch, looked after to their end: programs without torch stand in for those of a run."""

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

from razona.cli.processes import Launch, first_failure, run_processes
from razona.core.rundir import RunDir


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
        ({0: Failure(143), 1: Failure(1)}, 1),  # 0 was told to end, and did so by itself
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
        ("sys.exit(143)", 143, "razona: terminated (SIGTERM)"),  # the processes heard of it, and saved
        ("sys.exit(130)", 130, "razona: interrupted (SIGINT)"),
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
        (signal.SIGUSR1, 143, "razona: terminated (SIGUSR1). run holds no checkpoint"),
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
