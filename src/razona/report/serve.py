"""The page of a run, served to this machine alone and written anew as the run goes on."""

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Self

from razona.core.errors import RazonaError, RecipeError
from razona.core.files import write_text
from razona.core.rundir import RunDir
from razona.report.page import read_parts, render_page

HOST = "127.0.0.1"
"""Nobody else on the network can reach it."""
LOOK_EVERY_S = 2.0
"""Seconds between two looks at the run folder, and so between two versions of the page, at least."""
MAX_SHARE = 0.1
"""Of one core that may go into the page, which is another's core where the run trains on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The page at one time."""

    stamp: str
    """Changes whenever a file of the run that the page is made from does."""
    page: bytes


def read_stamp(run: RunDir) -> str:
    """Give a short text that changes when the run goes on. Completions are written before their step's metrics."""
    sources = (run.metrics, run.guard, run.health, run.summary, run.recipe, run.environment)
    found = []
    for path in sources:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        found.append(f"{path.name} {status.st_mtime_ns} {status.st_size}")
    return blake2b("\n".join(found).encode(), digest_size=8).hexdigest()


class PageServer:
    """Serves the page of `run`, from a thread of its own, inside a `with` block."""

    def __init__(self, run: RunDir, port: int) -> None:
        """Take the port and write the page.

        Args:
            port: 0 takes any free one.

        Raises:
            RunFolderError: the folder is not a run's, or a file of it cannot be read.
            RecipeError: the port is in use, or reserved for the system.
        """
        self.run = run
        self.http = _listen(port, lambda: self.version)
        try:
            self.version = self._write()
        except BaseException:
            self.http.server_close()
            raise

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        return f"http://{HOST}:{self.http.server_port}/"

    def __enter__(self) -> Self:
        Thread(target=self.http.serve_forever, name="page", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def refresh(self) -> bool:
        """Write the page anew if the run has gone on, and say whether it had.

        Raises:
            RunFolderError: a file of the run cannot be read; the page stays as it was.
        """
        if read_stamp(self.run) == self.version.stamp:
            return False
        self.version = self._write()
        return True

    def _write(self) -> Version:
        stamp = read_stamp(self.run)  # before the files: what comes in while they are read is a later version
        parts = read_parts(self.run)
        write_text(self.run.report, render_page(parts))
        return Version(stamp=stamp, page=render_page(parts, live_version=stamp).encode("utf-8"))


def follow(
    server: PageServer,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Keep the page of a started server as new as the run, until an interrupt.

    Args:
        say: takes what went wrong with a look at the folder, once as long as it stays the same. A line that is
            half written mends itself, so the page before stays and the next look tries again.
    """
    said, took = "", 0.0
    while True:
        sleep(max(LOOK_EVERY_S, took / MAX_SHARE))
        began_at = clock()
        try:
            server.refresh()
            said = ""
        except (RazonaError, OSError) as error:
            if str(error) != said:
                said = str(error)
                say(f"The page stays as it was: {said}")
        took = clock() - began_at


def _listen(port: int, latest: Callable[[], Version]) -> ThreadingHTTPServer:
    class Handler(PageHandler):
        version = staticmethod(latest)

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        why = "is in use by another program" if error.errno == errno.EADDRINUSE else "is reserved for the system"
        raise RecipeError(
            f"--port {port}: {HOST}:{port} {why}. Expected a free port. Give another one, or --port 0 for any free one."
        ) from error


class PageHandler(BaseHTTPRequestHandler):
    """Answers with the page and with its version, and with nothing else."""

    version: Callable[[], Version]
    server_version = "razona"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer a request."""
        latest = self.version()
        if not self.is_asked_by_name():
            # A foreign site whose name was made to lead here could otherwise read the page.
            self.answer(HTTPStatus.FORBIDDEN, b"this page is for this machine's own browser\n")
        elif self.path == "/":
            self.answer(HTTPStatus.OK, latest.page, kind="text/html")
        elif self.path == "/version":
            self.answer(HTTPStatus.OK, latest.stamp.encode())
        elif self.path == "/favicon.ico":
            self.answer(HTTPStatus.NO_CONTENT, b"")
        else:
            self.answer(HTTPStatus.NOT_FOUND, b"only the page of the run is here: /\n")

    do_HEAD = do_GET

    def is_asked_by_name(self) -> bool:
        """Say whether the browser was sent to this machine, and not to a name that leads here."""
        port = self.connection.getsockname()[1]
        return self.headers.get("Host", "") in (f"{HOST}:{port}", f"localhost:{port}")

    def answer(self, status: HTTPStatus, content: bytes, kind: str = "text/plain") -> None:
        """Send one whole answer, which nothing may keep, frame or take for another kind."""
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a line a request would bury what the person reads."""
