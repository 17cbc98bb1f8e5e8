"""Rows of other projects' data sets as rows with `question` and `answer`, and the instructions that some wrap around.

| layout | question | target |
|---|---|---|
| verl parquet (DAPO-Math-17k as published) | last user message of `prompt` | `reward_model.ground_truth` |
| open-instruct | last user message of `messages` | `ground_truth` |
| OpenAI and Azure RFT JSONL | last user message of `messages` | `reference_answer` |
| GSM8K | `question` | what follows the last `####` of `answer` (`razona.data.source`) |
| MBPP | `prompt` or `text`, and the first of `test_list` | `code` |

Nested columns may be JSON, or what Python prints of them, as CSV files hold them.

Not covered: several turns (the last user message is taken for the question), tools, images.
"""

import ast
import json
import re
import warnings
from collections.abc import Mapping

GROUND_TRUTHS = ("ground_truth", "reference_answer")
"""Columns of a target beside `messages`."""
LISTS = ("test_list", "test_imports", "tests", "names")
"""Columns of code and logic problems that are lists, which CSV files hold as text."""
PRINTED = ("{'", "[{'", "['", '["')
"""How Python prints what nested columns are made of."""
WRAPPERS = (
    re.compile(
        r"\ASolve the following math problem step by step\. The last line of your response should be of the form "
        r"Answer: \$?Answer \(without quotes\) where \$?Answer is the answer to the problem\.\s*"
        r"(?P<question>.*?)\s*Remember to put your answer on its own line after [\"']Answer:[\"']\.?\s*\Z",
        re.DOTALL,
    ),
)
"""Instructions around a question that ask for another form of answer than a recipe's prompt does: DAPO-Math-17k's."""


def strip_wrapper(question: str) -> str:
    r"""Give a question without the instructions that its data set wraps around it.

    >>> strip_wrapper("What is 2 + 2?")
    'What is 2 + 2?'
    """
    for wrapper in WRAPPERS:
        found = wrapper.match(question)
        if found:
            return found["question"]
    return question


def plain_row(row: Mapping[str, object]) -> dict[str, object]:
    """Give the row with `question` and `answer` added where its layout has them elsewhere; its own columns stay."""
    added: dict[str, object] = {name: _unpacked(row[name]) for name in LISTS if isinstance(row.get(name), str)}
    target = _ground_truth(row)
    if target is not None and not any(name in row for name in ("answer", "target")):
        added["answer"] = target
    if "question" not in row and "problem" not in row:
        asked = _last_user_message(row.get("messages"))
        if asked is None:
            asked = _last_user_message(row.get("prompt"))
        if asked is not None:
            added["question"] = asked
    return {**row, **added}


def _ground_truth(row: Mapping[str, object]) -> object:
    """Give the target of a nested or differently named column; None where there is none."""
    model = _mapping(row.get("reward_model"))
    found = model.get("ground_truth") if model else next((row[name] for name in GROUND_TRUTHS if name in row), None)
    if isinstance(found, str) and found.startswith(('["', "['")):  # `[1, 2]` is an answer
        found = _unpacked(found)
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    return found


def with_test(question: str, row: Mapping[str, object]) -> str:
    """Give the question of a row of MBPP with the first of its tests, which alone says what the function is called.

    Not with all of them, as MBPP's paper does (arXiv:2108.07732): what a program is tried on can be written into it.
    """
    tests = row.get("test_list")
    if not isinstance(tests, list | tuple) or not tests or not isinstance(tests[0], str) or tests[0] in question:
        return question
    return f"{question}\n\nYour code should pass this test:\n{tests[0].strip()}"


def _mapping(value: object) -> Mapping[str, object] | None:
    value = _unpacked(value)
    return value if isinstance(value, Mapping) else None


def _unpacked(value: object) -> object:
    """Give a nested column, which CSV files and some parquet writers hold as JSON, or as Python prints it."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except ValueError:
        pass
    if not value.lstrip().startswith(PRINTED):
        return value
    try:
        with warnings.catch_warnings():  # a question's backslashes are no escapes
            warnings.simplefilter("ignore")
            return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _last_user_message(value: object) -> str | None:
    value = _unpacked(value)
    if not isinstance(value, list):
        return None
    texts = [
        one.get("content") for one in value if isinstance(one, Mapping) and one.get("role") in (None, "user", "human")
    ]
    return next((text for text in reversed(texts) if isinstance(text, str)), None)
