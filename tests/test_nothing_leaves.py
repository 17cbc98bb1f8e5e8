"""Nothing leaves the machine that the recipe does not name: whole verbs in processes whose every socket is watched."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from razona.core.rundir import RunDir
from razona.core.telemetry import SWITCHES, switch_off_telemetry

WATCH = """
import os, socket, sys

def is_here(host):
    return host in (None, "", b"") or str(host).startswith(("127.", "localhost", "::1"))

def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        if arguments[0].family not in (socket.AF_INET, socket.AF_INET6) or arguments[1] is None:
            return
        host = arguments[1][0]
    elif event == "socket.bind" and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
        host = arguments[1][0] or "every address"
    else:
        return
    if not is_here(host):
        with open(os.environ["WATCHED"], "a") as file:
            file.write(f"{event} {host}\\n")
        raise OSError(f"the test lets nothing out: {event} {host}")

sys.addaudithook(watch)
with open(os.environ["WATCHED"] + ".hooked", "a") as file:
    file.write(" ".join(sys.orig_argv)[:200].replace("\\n", " ") + "\\n")
"""
"""The sitecustomize of every Python process that inherits the environment. An audit hook sees each call of Python's
own socket module, in every thread; it does not see a compiled library that calls the system by itself."""

UNSET = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "CI", *SWITCHES)
"""TRL sends nothing where CI is set, so a test that leaves it set would prove nothing."""

VERBS = """
import sys
from unittest import mock
from razona.cli.main import main

run, other = sys.argv[1], sys.argv[2]
small = ["train.steps=2", "train.completions_per_step=16", "train.microbatch_size=16", "guard.every=0"]
sets = [part for value in small for part in ("--set", value)]
measured = ["--data", "tasks", "--problems", "4", "--samples", "2", "--max-tokens", "16"]
for arguments in (
    ["train", "demo", "--out", run, *sets],
    ["eval", run, *measured, "--out", other + "/eval"],
    ["compare", "embedded", run, *measured, "--no-best-prompt", "--out", other + "/compare"],
    ["report", run],
    ["export", run, "--to", "adapter", "--problems", "2", "--out", other + "/export"],
):
    with mock.patch.object(sys, "argv", ["razona", *arguments]):
        try:
            main()
        except SystemExit as end:
            assert not end.code, (arguments, end.code)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A process that ended, and what it and its children wanted of the network."""

    done: subprocess.CompletedProcess[str]
    wanted: str
    hooked: list[str]
    """Command lines of the processes that were watched."""


def watched(tmp_path: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Watched:
    guard, log = tmp_path / "guard", tmp_path / "wanted"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(WATCH)
    own = {name: value for name, value in os.environ.items() if name not in UNSET}
    own |= {
        "PYTHONPATH": os.pathsep.join([str(guard), *sys.path[1:]]),
        "WATCHED": str(log),
        "HF_HOME": str(tmp_path / "hub"),  # no cache may answer in the network's place
        "OMP_NUM_THREADS": "1",
        **(environment or {}),
    }
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=own, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False)
    hooked = log.with_name("wanted.hooked")
    return Watched(
        done=done,
        wanted=log.read_text() if log.exists() else "",
        hooked=hooked.read_text().splitlines() if hooked.exists() else [],
    )


@pytest.mark.slow
def test_train_eval_compare_report_and_export_of_the_embedded_model_want_nothing_of_the_network(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    found = watched(tmp_path, "-c", VERBS, str(run), str(other))
    assert found.done.returncode == 0, found.done.stderr[-3000:]
    assert found.hooked and found.wanted == ""
    assert len(RunDir(run).read_steps()) == 2 and RunDir(run).report.exists()
    assert (other / "compare").is_dir() and list((other / "export" / "adapter").glob("*.safetensors"))


TELEMETRY = """
import sys
if sys.argv[1] == "with razona":
    import razona
from huggingface_hub.utils import _telemetry
_telemetry.send_telemetry("a topic", library_name="trl")
_telemetry._TELEMETRY_QUEUE.join()
"""


@pytest.mark.parametrize(("how", "is_wanted"), [("without razona", True), ("with razona", False)])
def test_the_hub_clients_telemetry_is_seen_by_the_watch_and_is_off_where_razona_is(
    how: str, is_wanted: bool, tmp_path: Path
) -> None:
    found = watched(tmp_path, "-c", TELEMETRY, how)
    assert found.done.returncode == 0, found.done.stderr
    assert ("huggingface.co" in found.wanted) == is_wanted


PARQUET = """
import sys
import pyarrow, pyarrow.parquet
pyarrow.parquet.write_table(pyarrow.table({"question": ["1 + 1?"], "answer": ["2"]}), "rows.parquet")
if sys.argv[1] == "with razona":
    from razona.data.source import read_problems
    from razona.recipe import DataSection
    assert [one.target for one in read_problems(DataSection(source="rows.parquet"))] == ["2"]
else:
    from datasets import load_dataset
    load_dataset("parquet", data_files="rows.parquet", split="train")
"""


@pytest.mark.parametrize(("how", "is_wanted"), [("without razona", True), ("with razona", False)])
def test_reading_a_parquet_file_is_reported_to_no_one(how: str, is_wanted: bool, tmp_path: Path) -> None:
    found = watched(tmp_path, "-c", PARQUET, how)
    assert found.done.returncode == 0, found.done.stderr
    assert bool(found.wanted) == is_wanted


LATE = """
import datasets.config
import huggingface_hub.constants
def found():
    return huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY, not datasets.config.HF_UPDATE_DOWNLOAD_COUNTS
before = found()
import razona
print(*before, *found())
"""


def test_telemetry_is_off_where_the_libraries_were_imported_first(tmp_path: Path) -> None:
    assert watched(tmp_path, "-c", LATE).done.stdout.split() == ["False", "False", "True", "True"]


NO_HUB = """
import sys
from unittest import mock
from razona.cli.main import main
for name in ("nobody/nothing", "nobody/nothing-else"):
    arguments = ["razona", "eval", name, "--data", "tasks", "--problems", "2", "--out", name.rpartition("/")[2]]
    with mock.patch.object(sys, "argv", arguments):
        try:
            main()
        except SystemExit as end:
            assert end.code == 2, end.code
"""


@pytest.mark.slow
def test_a_hub_that_does_not_answer_is_asked_twice_and_then_told_of(tmp_path: Path) -> None:
    found = watched(tmp_path, "-c", NO_HUB)
    assert found.done.returncode == 0, found.done.stderr
    assert found.wanted.splitlines() == ["socket.getaddrinfo huggingface.co"] * 2
    assert (
        found.done.stderr.count("https://huggingface.co does not answer: only what this machine has in its cache") == 1
    )
    for name in ("nobody/nothing", "nobody/nothing-else"):
        assert f"model.name = {name} cannot be loaded: the hub cannot be reached from here" in found.done.stderr


def test_what_the_person_has_set_stays() -> None:
    environment = {"WANDB_ERROR_REPORTING": "true"}
    switch_off_telemetry(environment)
    assert environment == {**SWITCHES, "WANDB_ERROR_REPORTING": "true"}


def test_the_watch_lets_nothing_out_and_writes_it_down(tmp_path: Path) -> None:
    program = """
import socket, urllib.request
for call in (
    lambda: urllib.request.urlopen("http://example.org/", timeout=1),
    lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
    lambda: socket.socket().bind(("0.0.0.0", 0)),
):
    try:
        call()
    except OSError as error:
        assert "lets nothing out" in str(error), error
    else:
        raise AssertionError("it was let out")
listening = socket.create_server(("127.0.0.1", 0))
socket.create_connection(listening.getsockname()).close()
"""
    found = watched(tmp_path, "-c", program)
    assert found.done.returncode == 0, found.done.stderr
    assert [line.rpartition(" ")[2] for line in found.wanted.splitlines()] == [
        "example.org",
        "192.0.2.1",
        "192.0.2.1",
        "0.0.0.0",
    ]
