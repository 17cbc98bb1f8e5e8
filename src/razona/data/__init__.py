"""Floor 4: problems from generators, files and the hub, and the prompts made of them."""

from razona.data.prompt import PromptWriter, tags_of
from razona.data.source import load_problems

__all__ = ["PromptWriter", "load_problems", "tags_of"]
