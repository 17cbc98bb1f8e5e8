"""Floor 3: procedural problems of school mathematics and logic, with worked steps and a proven target."""

from razona.tasks.catalogue import FAMILIES, LEVELS, SPLITS, distinct_problems, draw, problems, split_of
from razona.tasks.item import Family

__all__ = ["FAMILIES", "LEVELS", "SPLITS", "Family", "distinct_problems", "draw", "problems", "split_of"]
