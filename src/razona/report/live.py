"""The page of a run, written anew while the run trains."""

import time
from collections.abc import Callable, Mapping

from razona.core.rundir import RunDir
from razona.core.terminal import say
from razona.report.page import write_page

PAGE_EVERY_S = 30.0
"""Seconds between two versions of the page, at least."""
MAX_SHARE = 0.02
"""Of the run's time that may go into its page: one that took a second is not written again for 50."""


class LivePage:
    """Passes each step on and writes the run's page now and then; a page that fails is told on stderr."""

    def __init__(
        self,
        run: RunDir,
        on_step: Callable[[Mapping[str, float | None]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run, self.on_step, self.clock = run, on_step, clock
        self.due_at = clock() + PAGE_EVERY_S

    def __call__(self, row: Mapping[str, float | None]) -> None:
        """Take a step's metrics row, which the run folder holds already."""
        self.on_step(row)
        began_at = self.clock()
        if began_at >= self.due_at:
            self._write()
            ended_at = self.clock()
            self.due_at = ended_at + max(PAGE_EVERY_S, (ended_at - began_at) / MAX_SHARE)

    def _write(self) -> None:
        try:
            write_page(self.run)
        except Exception as error:  # whatever it is: hours of training must not end for the sake of their page
            say(
                f"razona: {self.run.report} could not be written ({type(error).__name__}: {error}). Training goes on, "
                "and the next page is tried later.",
                to_stderr=True,
            )
