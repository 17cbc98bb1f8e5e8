"""The pool of killable workers: every job ends, and only its own worker pays."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from razona.core.errors import MachineError
from razona.verify.pool import JobResult, JobStatus, Pool, PoolSettings, default_pool

SLACK_S = 0.2
"""A verdict may come this much after its deadline: the kill, and a busy machine."""

PROGRAM = """
import os, sys, time
from razona.verify.worker import launch
kept = []
def echo(x): return x
def pid(): return os.getpid()
def nap(seconds): time.sleep(seconds); return os.getpid()
def spin():
    while True: pass
def power(): return len(str(10**999999999))
def swallow():
    while True:
        try:
            while True: pass
        except BaseException: pass
def allocate(mib): return len(bytearray(mib << 20))
def keep(mib): kept.append(bytearray(b"x") * (mib << 20)); return os.getpid()
def grow():
    while True: kept.append(bytearray(1 << 20))
def divide(): return 1 / 0
def leave(): sys.exit(0)
def vanish(): os._exit(0)
def abort(): os.abort()
def recurse(): return recurse()
def shout():
    print("{}" * 100_000, flush=True)
    os.write(1, b"\\0\\0\\0\\2{}")
    os.write(2, b"x" * 200_000)
    return "done"
def ask(): return input()
def no_json(): return {1, 2}
def flood(): return "x" * (2 << 20)
names = [echo, pid, nap, spin, power, swallow, allocate, keep, grow, divide, leave, vanish, abort, recurse, shout, ask,
         no_json, flood]
launch({one.__name__: one for one in names}, lambda: None)
"""
LATE_PROGRAM = PROGRAM.replace("lambda: None", "lambda: time.sleep(0.6)")

# Job, deadline, how it ends.
HOSTILE = [
    ("power", {}, 0.2, JobStatus.TIMED_OUT),  # one call in C: Python would see no signal for minutes
    ("swallow", {}, 0.2, JobStatus.TIMED_OUT),
    ("spin", {}, 0.2, JobStatus.TIMED_OUT),
    ("nap", {"seconds": 60}, 0.2, JobStatus.TIMED_OUT),
    ("grow", {}, 2.0, JobStatus.OUT_OF_MEMORY),
    ("allocate", {"mib": 4000}, 2.0, JobStatus.OUT_OF_MEMORY),
    ("abort", {}, 2.0, JobStatus.CRASHED),
    ("vanish", {}, 2.0, JobStatus.CRASHED),
    ("leave", {}, 2.0, JobStatus.FAILED),
    ("recurse", {}, 2.0, JobStatus.FAILED),
    ("divide", {}, 2.0, JobStatus.FAILED),
    ("ask", {}, 2.0, JobStatus.FAILED),
    ("no_json", {}, 2.0, JobStatus.FAILED),
    ("flood", {}, 2.0, JobStatus.FAILED),
    ("absent", {}, 2.0, JobStatus.FAILED),
]


def in_main_thread(run: Callable[[], JobResult]) -> JobResult:
    return run()


def in_other_thread(run: Callable[[], JobResult]) -> JobResult:
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(run).result()


def in_asyncio(run: Callable[[], JobResult]) -> JobResult:
    async def call() -> JobResult:
        return await asyncio.to_thread(run)

    return asyncio.run(call())


def settings(**changes: object) -> PoolSettings:
    return PoolSettings(**{"program": PROGRAM, "num_workers": 2, **changes})  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def await_end(pids: list[int]) -> None:
    end = time.monotonic() + 10
    while any(map(is_alive, pids)):
        assert time.monotonic() < end, f"still running: {[pid for pid in pids if is_alive(pid)]}"
        time.sleep(0.01)


def children() -> set[str]:
    """Give the children of this process, zombies included."""
    return set(Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split())


def run_script(code: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with warnings as errors, `PROGRAM` at hand."""
    code = f"PROGRAM = {PROGRAM!r}\nfrom razona.verify.pool import *\n{code}"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(settings()) as pool:
        yield pool


@pytest.mark.parametrize("caller", [in_main_thread, in_other_thread, in_asyncio])
@pytest.mark.parametrize(("function", "arguments", "deadline_s", "status"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_a_hostile_job_ends_in_time_and_the_pool_lives_on(pool, caller, function, arguments, deadline_s, status):
    pool.run("pid", {}, deadline_s=5)  # the imports are done
    start = time.monotonic()
    result = caller(lambda: pool.run(function, arguments, deadline_s=deadline_s))
    assert result.status is status, result.reason
    assert result.reason
    assert time.monotonic() - start < deadline_s + SLACK_S
    assert result.seconds <= deadline_s + SLACK_S
    after = pool.run("echo", {"x": [1, None, "ñ\x00\ud800"]}, deadline_s=2)
    assert (after.status, after.value) == (JobStatus.DONE, [1, None, "ñ\x00\ud800"])


def test_what_a_job_prints_is_no_answer(pool):
    result = pool.run("shout", {}, deadline_s=2)
    assert (result.status, result.value) == (JobStatus.DONE, "done")


def test_the_reason_names_the_exception(pool):
    assert pool.run("divide", {}, deadline_s=2).reason == "ZeroDivisionError: division by zero"


def test_a_job_too_large_to_send_fails_and_touches_no_worker(pool):
    before = pool.run("pid", {}, deadline_s=2).value
    assert pool.run("echo", {"x": "x" * (2 << 20)}, deadline_s=2).status is JobStatus.FAILED
    assert pool.run("pid", {}, deadline_s=2).value == before


@pytest.mark.parametrize("deadline_s", [0, -1, float("nan"), float("inf")])
def test_a_deadline_that_is_none_is_refused(pool, deadline_s):
    with pytest.raises(ValueError, match="deadline_s"):
        pool.run("pid", {}, deadline_s=deadline_s)


def test_every_thread_gets_its_own_answer_from_few_workers():
    with Pool(settings(num_workers=3)) as pool, ThreadPoolExecutor(12) as executor:
        jobs = list(executor.map(lambda x: pool.run("echo", {"x": x}, deadline_s=10).value, range(200)))
        pids = set(executor.map(lambda _: pool.run("nap", {"seconds": 0.01}, deadline_s=10).value, range(24)))
    assert jobs == list(range(200))
    assert len(pids) <= 3


def test_jobs_run_side_by_side():
    with Pool(settings(num_workers=2)) as pool, ThreadPoolExecutor(2) as executor:
        pids = list(executor.map(lambda _: pool.run("nap", {"seconds": 0.3}, deadline_s=10).value, range(2)))
    assert pids[0] != pids[1]


def test_a_worker_is_kept_until_its_last_job():
    with Pool(settings(max_jobs=3)) as pool:
        pids = [pool.run("pid", {}, deadline_s=5).value for _ in range(7)]
    assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4] == pids[5] != pids[6]


def test_a_worker_that_grew_is_replaced_and_its_answer_counts():
    with Pool(settings(recycle_mib=20)) as pool:
        small, large, after = (
            pool.run(*job, deadline_s=5) for job in (("keep", {"mib": 5}), ("keep", {"mib": 30}), ("pid", {}))
        )
    assert small.value == large.value
    assert after.value != large.value


def test_the_cold_start_is_not_part_of_the_deadline():
    with Pool(settings(program=LATE_PROGRAM)) as pool:
        result = pool.run("echo", {"x": 1}, deadline_s=0.2)
    assert result.status is JobStatus.DONE
    assert result.seconds < 0.2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"program": "import no_such_module_here"}, "No module named 'no_such_module_here'"),
        ({"program": "raise SystemExit(0)"}, "wrote nothing"),
        ({"program": LATE_PROGRAM, "start_timeout_s": 0.2}, "within 0.2 s"),
    ],
)
def test_a_start_that_fails_is_ours_and_says_why(changes, reason):
    before = children()
    with Pool(settings(**changes)) as pool:
        results = [pool.run("pid", {}, deadline_s=1) for _ in range(2)]
    assert [result.status for result in results] == [JobStatus.UNAVAILABLE] * 2
    assert reason in results[0].reason
    assert children() == before


def test_a_wait_for_a_free_worker_is_ours():
    with Pool(settings(num_workers=1, wait_timeout_s=0.1)) as pool, ThreadPoolExecutor(1) as executor:
        pool.run("pid", {}, deadline_s=5)
        long = executor.submit(pool.run, "nap", {"seconds": 0.5}, deadline_s=5)
        time.sleep(0.1)
        assert pool.run("pid", {}, deadline_s=5).status is JobStatus.UNAVAILABLE
        assert long.result().status is JobStatus.DONE


def test_nothing_starts_before_the_first_job():
    before = children()
    with Pool(settings()):
        assert children() == before


def test_a_closed_pool_leaves_no_process_and_no_file_descriptor():
    processes, files = children(), len(os.listdir("/proc/self/fd"))
    pool = Pool(settings())
    pids = [pool.run("pid", {}, deadline_s=5).value, pool.run("keep", {"mib": 1}, deadline_s=5).value]
    pool.run("spin", {}, deadline_s=0.1)
    pool.close()
    pool.close()
    assert (children(), len(os.listdir("/proc/self/fd"))) == (processes, files)
    await_end([int(str(pid)) for pid in pids])
    with pytest.raises(MachineError, match="closed"):
        pool.run("pid", {}, deadline_s=1)


def test_closing_ends_the_jobs_that_run():
    pool = Pool(settings())
    pool.run("pid", {}, deadline_s=5)
    with ThreadPoolExecutor(1) as executor:
        job = executor.submit(pool.run, "spin", {}, deadline_s=30)
        time.sleep(0.1)
        pool.close()
        assert job.result(timeout=5).status is JobStatus.UNAVAILABLE


def test_a_worker_killed_between_jobs_is_not_the_next_jobs_fault():
    with Pool(settings()) as pool:
        pid = int(str(pool.run("pid", {}, deadline_s=5).value))
        os.kill(pid, signal.SIGKILL)
        await_end([pid])
        result = pool.run("pid", {}, deadline_s=5)
    assert result.status is JobStatus.DONE
    assert result.value != pid


def test_a_worker_killed_from_outside_is_no_crash_of_the_job():
    """The kernel kills one where memory is short: the job's data have nothing to do with it."""
    with Pool(settings()) as pool, ThreadPoolExecutor(1) as executor:
        job = executor.submit(pool.run, "nap", {"seconds": 60}, deadline_s=30)
        while not pool._state.busy:
            time.sleep(0.01)
        os.kill(next(iter(pool._state.busy)).pid, signal.SIGKILL)
        result = job.result(timeout=10)
        assert result.status is JobStatus.UNAVAILABLE and "the worker was killed" in result.reason
        assert pool.run("pid", {}, deadline_s=5).status is JobStatus.DONE


def test_a_killed_launcher_takes_its_workers_along_and_is_replaced():
    before = children()
    with Pool(settings()) as pool:
        pid = int(str(pool.run("pid", {}, deadline_s=5).value))
        (launcher,) = children() - before
        os.kill(int(launcher), signal.SIGKILL)
        await_end([pid])
        assert pool.run("pid", {}, deadline_s=5).status is JobStatus.DONE
    assert children() == before


def test_a_process_that_never_closes_its_pool_ends_cleanly_and_leaves_nothing():
    done = run_script("pool = Pool(PoolSettings(program=PROGRAM))\nprint(pool.run('pid', {}, deadline_s=5).value)")
    assert (done.returncode, done.stderr) == (0, "")
    await_end([int(done.stdout)])


def test_a_pool_that_is_dropped_ends_its_processes():
    done = run_script(
        "import gc, os\nprint(Pool(PoolSettings(program=PROGRAM)).run('pid', {}, deadline_s=5).value)\ngc.collect()\n"
        "from pathlib import Path\nprint(len(Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()))"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[1] == "0"


def test_workers_die_with_a_killed_parent_in_the_middle_of_a_job():
    code = (
        "import os, signal, threading, time\npool = Pool(PoolSettings(program=PROGRAM))\n"
        "print(pool.run('pid', {}, deadline_s=5).value, flush=True)\n"
        "threading.Thread(target=pool.run, args=('power', {}), kwargs={'deadline_s': 60}, daemon=True).start()\n"
        "time.sleep(0.2)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = run_script(code)
    assert done.returncode == -signal.SIGKILL
    await_end([int(done.stdout)])


def test_the_thread_that_started_the_pool_may_end():
    with Pool(settings()) as pool:
        first = in_other_thread(lambda: pool.run("pid", {}, deadline_s=5))
        assert pool.run("pid", {}, deadline_s=5).value == first.value


def test_a_fork_of_the_parent_has_workers_of_its_own():
    code = (
        "import gc, os, sys\npool = Pool(PoolSettings(program=PROGRAM))\n"
        "mine = pool.run('pid', {}, deadline_s=5).value\nchild = os.fork()\n"
        "if child == 0:\n"
        "    theirs = pool.run('pid', {}, deadline_s=5)\n    gc.collect()\n"
        "    sys.exit(0 if theirs.status is JobStatus.DONE and theirs.value != mine else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), pool.run('pid', {}, deadline_s=5).value == mine)"
    )
    done = run_script(code)
    assert (done.stdout, done.stderr) == ("0 True\n", "")


def test_there_is_one_default_pool():
    assert default_pool() is default_pool()


def test_running_out_of_memory_is_never_taken_for_a_crash():
    with Pool(settings(num_workers=4)) as pool, ThreadPoolExecutor(8) as executor:
        statuses = set(executor.map(lambda _: pool.run("grow", {}, deadline_s=10).status, range(24)))
    assert statuses == {JobStatus.OUT_OF_MEMORY}


def test_the_address_space_limit_is_what_ends_the_job():
    with Pool(settings(memory_mib=40)) as small, Pool(settings(memory_mib=80)) as large:
        statuses = [one.run("allocate", {"mib": 60}, deadline_s=5).status for one in (small, large)]
    assert statuses == [JobStatus.OUT_OF_MEMORY, JobStatus.DONE]
