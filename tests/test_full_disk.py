"""A disk that is full: checkpoints are tried again, other files are named, and nothing that was written is lost."""

import errno
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from test_checkpoints import run_with, tiny

from razona.core import sealing
from razona.core.errors import DiskError
from razona.core.files import append_jsonl, write_jsonl, write_text
from razona.core.rundir import RunDir
from razona.core.terminal import say
from razona.train import train
from razona.train.checkpoints import Saver


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse what makes a file larger, as a full disk does: in Python, in torch and in safetensors."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def undisturbed(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    recipe = tiny(random_model, "train.steps=6", "train.save_every=2")
    return train(recipe, tmp_path_factory.mktemp("undisturbed") / "run").run


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Step -> largest file that can be written while its checkpoint is."""
    limits: dict[int, int] = {}
    real = Saver.save

    def save(self: Saver, step: int, needed: int, write: Callable[[], None], *, is_last: bool) -> None:
        with largest_file(limits[step]) if step in limits else nullcontext():
            real(self, step, needed, write, is_last=is_last)

    monkeypatch.setattr(Saver, "save", save)
    return limits


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def adapter_of(run: RunDir) -> bytes:
    return (run.adapter / "adapter_model.safetensors").read_bytes()


def test_checkpoints_that_the_disk_does_not_take_are_tried_again_and_change_nothing(
    undisturbed: RunDir, random_model: Path, tmp_path: Path, refuse: dict[int, int], capsys
):
    sizes = {path.name: path.stat().st_size for path in (undisturbed.checkpoints / "checkpoint-6").iterdir()}
    largest_but_one, optimizer = sizes["adapter_model.safetensors"], sizes["optimizer.pt"]
    assert max(size for name, size in sizes.items() if name != "optimizer.pt") == largest_but_one < optimizer
    refuse.update({4: largest_but_one - 1, 5: largest_but_one + 1})  # safetensors gives up at 4, torch at 5
    run = RunDir(tmp_path / "run")
    seen: dict[int, set[str]] = {}

    def watch(row: object) -> None:
        if row["step"] > 4:  # pyright: ignore[reportIndexIssue]
            seen[row["step"]] = names_in(run.checkpoints)  # pyright: ignore[reportIndexIssue]

    train(tiny(random_model, "train.steps=6", "train.save_every=2"), run.root, watch=watch)
    told = capsys.readouterr().err
    assert "the checkpoint of step 4 could not be written" in told and "File too large" in told
    assert "MiB are free; " in told and "checkpoint-2 is the last one. The run goes on" in told
    assert "1 failed in a row, train.max_failed_saves = 3" in told
    assert "the checkpoint of step 5 could not be written" in told and "2 failed in a row" in told
    assert seen == {5: {"checkpoint-2"}, 6: {"checkpoint-2"}}
    assert names_in(run.checkpoints) == {"checkpoint-2", "checkpoint-6"}
    assert sealing.flaw_of(run.checkpoints / "checkpoint-2") == ""
    assert adapter_of(run) == adapter_of(undisturbed)
    assert [row["loss"] for row in run.read_steps()] == [row["loss"] for row in undisturbed.read_steps()]


def test_a_disk_that_fails_too_often_ends_the_run_which_goes_on_when_there_is_room(
    undisturbed: RunDir, random_model: Path, tmp_path: Path, refuse: dict[int, int]
):
    refuse.update({4: 1000, 5: 0})
    recipe = tiny(random_model, "train.steps=6", "train.save_every=2", "train.max_failed_saves=1")
    with pytest.raises(DiskError, match=r"attempt 2 in a row and train\.max_failed_saves = 1.* go on with --resume"):
        train(recipe, tmp_path / "run")
    run = RunDir(tmp_path / "run")
    assert names_in(run.checkpoints) == {"checkpoint-2"} and len(run.read_steps()) == 5
    refuse.clear()
    train(recipe, run.root, resume=True)
    assert names_in(run.checkpoints) == {"checkpoint-4", "checkpoint-6"}
    assert adapter_of(run) == adapter_of(undisturbed)


def test_too_little_room_counts_as_a_failed_save_before_anything_is_written(tmp_path: Path, capsys):
    run = run_with(tmp_path, 2)
    saver = Saver(run, max_failed=1)
    for is_last in (False, True):  # a run that has taken its last step has its weights to write
        saver.save(4, 2**60, lambda: pytest.fail("wrote all the same"), is_last=is_last)
        told = capsys.readouterr().err
        assert f"it needs about {2**40} MiB" in told
        assert ("No step comes after it." in told) is is_last and ("tries again" in told) is not is_last
    with pytest.raises(DiskError, match="attempt 3 in a row"):
        saver.save(5, 2**60, lambda: pytest.fail("wrote all the same"))
    assert names_in(run.checkpoints) == {"checkpoint-2"}


def test_what_is_no_fault_of_the_disk_is_not_swallowed(tmp_path: Path):
    def write() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        Saver(RunDir(tmp_path), max_failed=3).save(4, 0, write)


def test_completions_that_cannot_be_written_end_the_run_with_the_file_and_the_way_on(
    undisturbed: RunDir, random_model: Path, tmp_path: Path
):
    recipe, run = tiny(random_model, "train.steps=6", "train.save_every=2"), RunDir(tmp_path / "run")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(row: object) -> None:
        if row["step"] == 3:  # pyright: ignore[reportIndexIssue]
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))

    try:
        with pytest.raises(
            DiskError, match=r"completions/step-000004\.jsonl could not be written: File too large .* --r"
        ):
            train(recipe, run.root, watch=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert run.completion_steps() == [1, 2, 3]
    assert not list((run.root / "completions").glob(".*"))
    train(recipe, run.root, resume=True)
    assert adapter_of(run) == adapter_of(undisturbed)


def test_a_row_on_a_full_disk_says_which_file_and_what_to_do(tmp_path: Path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(DiskError, match=r"metrics\.jsonl could not be written: No space left on device .*Make room"):
        append_jsonl(tmp_path / "metrics.jsonl", {"step": 1})


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path):
    write_text(tmp_path / "rows.jsonl", "before\n")
    with largest_file(100), pytest.raises(DiskError, match="File too large"):
        write_jsonl(tmp_path / "rows.jsonl", ["x" * 200])
    assert names_in(tmp_path) == {"rows.jsonl"} and (tmp_path / "rows.jsonl").read_text() == "before\n"


class FullLog:
    """A log file on a full disk."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_note_that_stderr_does_not_take_ends_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", FullLog())
    say("razona: a note", to_stderr=True)
    monkeypatch.setattr(sys, "stdout", FullLog())
    with pytest.raises(OSError, match="No space left"):
        say("a result")
