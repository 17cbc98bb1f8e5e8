"""A batch as TRL hands it to a reward function, read into texts and rows."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

from razona.core.errors import RewardError

EXTRA = "extra"
"""A column with further columns of the problem as one JSON object: a table cannot hold lists here and texts there."""
NOT_COLUMNS = ("prompts", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments")
"""What TRL passes beside the data set's columns."""


def completion_texts(completions: Sequence[object]) -> list[str]:
    """Give the text of each completion, a text itself or a conversation, of which the last message counts.

    Raises:
        RewardError: a completion is neither.

    >>> completion_texts(["4", [{"role": "assistant", "content": "4"}]])
    ['4', '4']
    """
    return [_text(completion, row) for row, completion in enumerate(completions)]


def _text(completion: object, row: int) -> str:
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Sequence) and completion and isinstance(completion[-1], Mapping):
        content = completion[-1].get("content")
        if isinstance(content, list):  # TRL's form for models that see: [{"type": "text", "text": ...}]
            parts = [part.get("text", "") for part in content if isinstance(part, Mapping)]
            content = "".join(part for part in parts if isinstance(part, str))
        if content is None:  # a message that only calls a tool
            return ""
        if isinstance(content, str):
            return content
    raise RewardError(
        f"completion of row {row} is {completion!r:.80}; expected a text, or messages such as "
        '[{"role": "assistant", "content": "..."}].'
    )


def target_texts(target: Sequence[object] | None, count: int, kind: str) -> list[str]:
    """Give the target of each row as text; empty texts where problems of another kind than math have none.

    Raises:
        RewardError: there is no column `target` though `kind` is math, it is not as long as the batch, or an entry is
            neither text nor a whole number.
    """
    if target is None and kind != "math":
        return [""] * count
    if target is None:
        raise RewardError(
            "no targets came with the completions; expected the data set's column target (rename the column that "
            'holds the answers: dataset.rename_column("answer", "target")).'
        )
    if len(target) != count:
        raise RewardError(f"{count} completions came with {len(target)} targets; one each is needed")
    for row, one in enumerate(target):
        if kind == "math" and (isinstance(one, bool) or not isinstance(one, str | int)):
            raise RewardError(f"target of row {row} is {one!r:.80}; expected a text, or a whole number.")
    return [str(one) for one in target]


def problem_rows(
    target: Sequence[object] | None, columns: Mapping[str, object], count: int
) -> list[Mapping[str, object]]:
    """Give the columns of each row as one mapping, those of the column `extra` included; empty cells are left out.

    Raises:
        RewardError: a column is not as long as the batch, or `extra` is no JSON object.
    """
    lists = {
        name: cells for name, cells in columns.items() if name not in NOT_COLUMNS and isinstance(cells, list | tuple)
    }
    if target is not None:
        lists["target"] = list(target)
    for name, cells in lists.items():
        if len(cells) != count:
            raise RewardError(f"{count} completions came with {len(cells)} entries of {name}; one each is needed")
    extras = lists.pop(EXTRA, [None] * count)
    rows = [{name: cells[row] for name, cells in lists.items() if cells[row] is not None} for row in range(count)]
    return [{**row, **_extra(extra)} for row, extra in zip(rows, extras, strict=True)]


def _extra(extra: object) -> Mapping[str, object]:
    if extra is None or extra == "":
        return {}
    read = _read_extra(extra) if isinstance(extra, str) else extra
    if not isinstance(read, Mapping):
        raise RewardError(f"the column {EXTRA} holds {extra!r:.80}; expected a JSON object with further columns.")
    return read


@lru_cache(maxsize=4_096)
def _read_extra(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise RewardError(f"the column {EXTRA} holds {text!r:.80}, which is no JSON: {error}.") from None


def token_counts(completion_ids: object, count: int) -> list[int | None]:
    """Give the number of tokens of each completion; None each where nobody said.

    Raises:
        RewardError: there are not as many lists of ids as completions.
    """
    if completion_ids is None:
        return [None] * count
    if not isinstance(completion_ids, Sequence) or len(completion_ids) != count:
        raise RewardError(
            f"{count} completions came with completion_ids {completion_ids!r:.60}; one list each is needed"
        )
    return [len(ids) for ids in completion_ids]
