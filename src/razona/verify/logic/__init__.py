"""Logic puzzles, checked against the puzzle itself: no stored solution is compared, no model text is evaluated.

`read_puzzle(row)` reads the puzzle of a data row and `check_logic(completion, puzzle, tags)` judges a completion. One
file holds one kind of puzzle, with the fields of its rows and what it does not cover at its head.
"""

from razona.verify.logic.check import READERS, Puzzle, check_logic, read_puzzle
from razona.verify.logic.reasoning_gym import draw_rows

__all__ = ["READERS", "Puzzle", "check_logic", "draw_rows", "read_puzzle"]
