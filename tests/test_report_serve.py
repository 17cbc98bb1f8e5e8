"""The served page of a run, over a real socket: who may ask, what is answered, how it follows the run and ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from report_runs import make_run, metrics_row

from razona.core.errors import RecipeError, RunFolderError
from razona.core.rundir import RunDir
from razona.report.serve import PageServer, follow


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return make_run(tmp_path / "demo", steps=12, stored=(1, 12))


@pytest.fixture
def server(run: RunDir) -> Iterator[PageServer]:
    with PageServer(run, 0) as served:
        yield served


def ask(server: PageServer, path: str, method: str = "GET", host: str | None = None) -> tuple[HTTPResponse, str]:
    connection = HTTPConnection("127.0.0.1", server.http.server_port, timeout=10)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer, body


def test_page_and_its_version_are_served_and_nothing_else(server: PageServer, run: RunDir) -> None:
    answer, page = ask(server, "/")
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<h1>demo</h1>" in page
    version = ask(server, "/version")[1]
    assert f'<meta name="razona-version" content="{version}">' in page
    for path in ("/metrics.jsonl", "/report.html", "/../recipe.yaml", "/version/", "/?x"):
        assert ask(server, path)[0].status == 404
    assert ask(server, "/favicon.ico")[0].status == 204
    assert ask(server, "/", method="POST")[0].status == 501
    head, body = ask(server, "/", method="HEAD")
    assert (head.status, body) == (200, "") and int(head.headers["Content-Length"]) == len(page.encode())


def test_answers_may_not_be_kept_or_framed(server: PageServer) -> None:
    headers = ask(server, "/")[0].headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_name_that_was_made_to_lead_here_is_refused(server: PageServer) -> None:
    port = server.http.server_port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", ""):
        answer, body = ask(server, "/", host=host)
        assert answer.status == 403 and "demo" not in body
    assert ask(server, "/", host=f"localhost:{port}")[0].status == 200


def test_only_this_machine_can_reach_it(server: PageServer) -> None:
    assert server.http.socket.getsockname()[0] == "127.0.0.1"


def test_policy_is_as_closed_as_that_of_the_file_but_for_the_question_to_its_own_server(
    server: PageServer, run: RunDir
) -> None:
    def policy(page: str) -> dict[str, str]:
        found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
        assert found
        return dict(one.strip().split(" ", 1) for one in found[1].split(";"))

    served, file = policy(ask(server, "/")[1]), policy(run.report.read_text(encoding="utf-8"))
    assert served.pop("connect-src") == "'self'"
    hashes, more = file["script-src"].split(), served["script-src"].split()
    assert more[: len(hashes)] == hashes and len(more) == len(hashes) + 1
    assert served | {"script-src": ""} == file | {"script-src": ""}
    assert "razona-version" not in run.report.read_text(encoding="utf-8")


def test_page_follows_the_run(server: PageServer, run: RunDir) -> None:
    before, first = ask(server, "/version")[1], ask(server, "/")[1]
    assert not server.refresh()
    run.append_step(metrics_row(13, 40))
    assert server.refresh() and not server.refresh()
    later = ask(server, "/version")[1]
    assert later != before and f'content="{later}"' in ask(server, "/")[1]
    assert '"step":13' not in first and '"step":13' in ask(server, "/")[1]
    assert '"step":13' in run.report.read_text(encoding="utf-8")


class Over(Exception):
    """Ends an endless loop."""


def test_page_that_takes_long_is_written_less_often(server: PageServer) -> None:
    times, sleeps = iter([0.0, 0.1, 10.0, 13.0, 50.0]), []
    with pytest.raises(StopIteration):
        follow(server, print, sleeps.append, clock=lambda: next(times))
    assert sleeps == [2.0, 2.0, 30.0]  # a tenth of a second asks for 1, three seconds for 30


def test_half_written_line_leaves_the_page_as_it_was_and_is_told_once(server: PageServer, run: RunDir) -> None:
    whole, said, looks = run.metrics.read_text(), [], []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) in (1, 3):
            run.metrics.write_text(f"{whole}{{'step': {13 * len(looks)}, 'rew")
        if len(looks) == 5:
            run.metrics.write_text(whole + '{"step": 13, "reward": 1.0}\n')
        if len(looks) == 6:
            raise Over

    with pytest.raises(Over):
        follow(server, said.append, sleep, clock=lambda: 0.0)
    assert looks == [2.0] * 6
    assert len(said) == 1 and "metrics.jsonl should hold one JSON object a line" in said[0]
    assert '"step":13' in ask(server, "/")[1]


def test_port_in_use_is_refused_with_what_to_do(server: PageServer, run: RunDir) -> None:
    port = server.http.server_port
    with pytest.raises(RecipeError, match=rf"--port {port}: 127\.0\.0\.1:{port} is in use.*--port 0"):
        PageServer(run, port)


def test_folder_that_is_no_run_gives_its_port_back(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for _ in range(2):  # the second finds the port free
        with pytest.raises(RunFolderError, match="not the folder of a run"):
            PageServer(RunDir(tmp_path), port)


def razona_report(*arguments: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "razona", "report", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )


def test_command_serves_follows_and_ends_with_130_on_an_interrupt(run: RunDir) -> None:
    with razona_report(str(run.root), "--watch", "--port", "0") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line
        run.append_step(metrics_row(13, 40))
        deadline = time.monotonic() + 60
        page = ""
        while '"step":13' not in page and time.monotonic() < deadline:
            time.sleep(0.2)
            connection = HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
            connection.request("GET", "/")
            page = connection.getresponse().read().decode()
            connection.close()
        assert '"step":13' in page
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"No longer served. The page as a file: {run.report}" in out
    assert err == ""


def test_command_refuses_a_port_that_nothing_would_use_and_one_in_use(run: RunDir, server: PageServer) -> None:
    port = str(server.http.server_port)
    for arguments, expected in (
        ([str(run.root), "--port", "8000"], "--port 8000 was given without --watch"),
        ([str(run.root), "--watch", "--port", port], f"--port {port}: 127.0.0.1:{port} is in use by another program"),
    ):
        with razona_report(*arguments) as process:
            _, err = process.communicate(timeout=60)
        assert process.returncode == 2 and expected in err and "Traceback" not in err
