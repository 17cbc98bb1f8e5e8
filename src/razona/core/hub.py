"""Whether the hub can be reached, found out before something waits for it."""

import sys
from functools import cache

from razona.core.launch import is_main_process
from razona.core.terminal import say

ANSWER_WITHIN_S = 5.0
"""Seconds for one answer; the hub's client alone would try a file six times, over 23 s and more."""
TRIES = 2


def settle_hub() -> None:
    """Use this machine's cache alone where the hub does not answer; what is not in it is then told of at once.

    Call it before a hub name is read. It asks once a process, and not at all where HF_HUB_OFFLINE is set.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or _answers(constants.ENDPOINT):
        return
    constants.HF_HUB_OFFLINE = True
    datasets_settings = sys.modules.get("datasets.config")
    if datasets_settings is not None:
        datasets_settings.HF_HUB_OFFLINE = True  # pyright: ignore[reportAttributeAccessIssue]
    if is_main_process():
        say(
            f"razona: {constants.ENDPOINT} does not answer: only what this machine has in its cache is used.",
            to_stderr=True,
        )


@cache
def _answers(endpoint: str) -> bool:
    """Say whether a server answers, whatever it says."""
    from huggingface_hub.utils import get_session

    for _ in range(TRIES):
        try:
            get_session().head(endpoint, timeout=ANSWER_WITHIN_S)
            return True
        except (
            Exception
        ):  # of the HTTP library, which differs between the client's versions: no name, no route, no time
            continue
    return False
