"""Reward functions that break their contract on the second step of a run, each in its own way."""

import math
import time


def _from_second_step(trainer_state: object) -> bool:
    return getattr(trainer_state, "global_step", 0) >= 1


def raises(completions: list[str], trainer_state: object = None, **columns: object) -> list[float]:
    if _from_second_step(trainer_state):
        raise ConnectionError("the judge does not answer")
    return [0.5] * len(completions)


def one_of(completions: list[str], trainer_state: object, bad: object) -> list[object]:
    rows: list[object] = [0.5] * len(completions)
    if _from_second_step(trainer_state):
        rows[5] = bad
    return rows


def not_a_number(completions: list[str], trainer_state: object = None, **columns: object) -> list[object]:
    return one_of(completions, trainer_state, math.nan)


def too_few(completions: list[str], trainer_state: object = None, **columns: object) -> list[float]:
    return [0.5] * (len(completions) - _from_second_step(trainer_state))


def sleeps(completions: list[str], trainer_state: object = None, **columns: object) -> list[float]:
    if _from_second_step(trainer_state):
        try:
            time.sleep(60)
        except Exception:  # a judge that takes every error for "wrong"
            return [0.0] * len(completions)
    return [0.5] * len(completions)


def slow(completions: list[str], trainer_state: object = None, **columns: object) -> list[float]:
    if _from_second_step(trainer_state):
        time.sleep(1.8)
    return [0.5] * len(completions)
