"""Which problems a step samples: those that taught nothing last time come back later than the others."""

from collections import deque
from collections.abc import Iterable, Mapping

from razona.core.errors import RunFolderError

MAX_PASSED_OVER = 7
"""A problem is passed over at most this many times in a row, then it is sampled again."""


def has_signal(rewards: Iterable[float | None]) -> bool:
    """Say whether a group's rewards are not all equal; None, where there is no verdict, does not count.

    The completions of a group without signal, a flat one, have advantages of 0 by definition.
    """
    return len({reward for reward in rewards if reward is not None}) > 1


class ProblemQueue:
    """The problems in the order in which they are sampled, round after round.

    A problem whose latest group was flat (always solved, never solved: no advantage, no gradient) is passed over in the
    next round, after two flat groups in the next three, then in seven; a group with signal sets it back to every round.
    So all problems return, and a policy that has changed is tried on them again. Nothing here is drawn by chance: the
    same outcomes give the same order.

    >>> queue = ProblemQueue(3)
    >>> queue.take(2)
    [0, 1]
    >>> queue.note(0, is_informative=False)
    >>> queue.take(3)
    [2, 1, 2]
    """

    def __init__(self, num_problems: int) -> None:
        self._waiting = deque(range(num_problems))
        self._passes_left = [0] * num_problems
        self._flat_streak = [0] * num_problems

    def take(self, count: int) -> list[int]:
        """Give the next `count` problems; one can come twice where there are fewer."""
        taken: list[int] = []
        while len(taken) < count:
            problem = self._waiting.popleft()
            self._waiting.append(problem)
            if self._passes_left[problem]:
                self._passes_left[problem] -= 1
            else:
                taken.append(problem)
        return taken

    def note(self, problem: int, *, is_informative: bool) -> None:
        """Remember how a problem's group ended.

        Args:
            is_informative: whether the group's rewards were not all equal.
        """
        self._flat_streak[problem] = 0 if is_informative else self._flat_streak[problem] + 1
        self._passes_left[problem] = min(MAX_PASSED_OVER, 2 ** self._flat_streak[problem] - 1)

    def state(self) -> dict[str, list]:
        """Give all that the queue knows, for `restore`."""
        return {
            "waiting": list(self._waiting),
            "passes_left": list(self._passes_left),
            "flat_streak": list(self._flat_streak),
        }

    def restore(self, state: Mapping[str, list]) -> None:
        """Become the queue whose `state` this is.

        Raises:
            RunFolderError: that queue had another number of problems.
        """
        if len(state["waiting"]) != len(self._waiting):
            raise RunFolderError(
                f"--resume: the checkpoint counts {len(state['waiting'])} problems and the data holds "
                f"{len(self._waiting)}: the data has changed since. Put it back as it was, or start a new run."
            )
        self._waiting = deque(state["waiting"])
        self._passes_left, self._flat_streak = list(state["passes_left"]), list(state["flat_streak"])
