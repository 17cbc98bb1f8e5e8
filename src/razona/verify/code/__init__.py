"""The verifier of code: Python functions and programs against tests, in a sandbox."""

from razona.verify.code.check import CodeOptions, CodeReport, TestOutcome, check_code
from razona.verify.code.extraction import extract_code
from razona.verify.code.isolation import Isolation, choose_isolation, problem_with
from razona.verify.code.problem import CodeProblem, FunctionTests, ProgramCase, read_code_row

__all__ = [
    "CodeOptions",
    "CodeProblem",
    "CodeReport",
    "FunctionTests",
    "Isolation",
    "ProgramCase",
    "TestOutcome",
    "check_code",
    "choose_isolation",
    "extract_code",
    "problem_with",
    "read_code_row",
]
