"""Floor 7: what a run has trained, in formats that others load; each is proven by loading it again."""

from razona.export.exporting import DTYPES, FORMATS, NUM_PROBLEMS, Wanted, export

__all__ = ["DTYPES", "FORMATS", "NUM_PROBLEMS", "Wanted", "export"]
