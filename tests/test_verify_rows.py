"""`razona verify`: a file of rows in, the rows with their verdicts out; and where we differ from others' labels."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from razona.cli.main import main
from razona.core.nouns import Outcome
from razona.verify import Settings, check
from razona.verify.code.isolation import Isolation, problem_with

PAIRS = Path(__file__).parents[2] / "shared" / "data" / "verifier" / "pairs.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def verify(monkeypatch, capsys, tmp_path) -> Callable[..., Done]:
    """Runs `razona verify` on rows, or on the text of a file, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(rows: list[dict] | str, *options: str) -> Done:
        text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        Path("rows.jsonl").write_text(text, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["razona", "verify", "rows.jsonl", *options])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Done(code=int(ended.value.code or 0), out=captured.out, err=captured.err)

    return run


def written() -> list[dict]:
    return [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]


def boxed(answer: str, gold: str = "34", **fields: object) -> dict:
    return {"completion": rf"so \boxed{{{answer}}}", "gold": gold, **fields}


# Rows


def test_rows_keep_their_fields_and_order_and_get_their_verdicts(verify):
    rows = [
        boxed("35", id="b", question="\N{SNOWMAN} 2^5 + 2?", tags=["x", None]),
        {"gold": 34, "completion": "no answer", "id": "a"},
        boxed("34.0", id="c", outcome="of before"),
    ]
    assert verify(rows, "--out", "out.jsonl").code == 0
    found = written()
    assert [row["id"] for row in found] == ["b", "a", "c"]
    assert [row["outcome"] for row in found] == ["incorrect", "no_answer", "correct"]
    assert [row["answer"] for row in found] == ["35", None, "34.0"]
    assert found[0]["reason"] == "'35' is not '34'"
    assert found[2]["reason"] == ""
    assert all(0 < row["seconds"] < 5 for row in found)
    verdict = {"outcome", "answer", "reason", "seconds"}
    unchanged = [{name: value for name, value in row.items() if name not in verdict} for row in found]
    assert unchanged[:2] == rows[:2]
    assert unchanged[2] == {"completion": rows[2]["completion"], "gold": "34", "id": "c"}


def test_the_summary_counts_every_outcome_and_why_rows_are_unverified(verify):
    rows = [boxed("34"), boxed("34"), boxed("35"), {"gold": "34", "completion": "?"}, boxed("1", gold=" ")]
    lines = verify(rows).out.splitlines()
    assert lines[0] == "5 rows: 2 correct, 1 incorrect, 1 no_answer, 1 unverified"
    assert lines[1] == "  unverified, 1 rows: the target is empty"
    assert "verdicts/s" in lines[2]
    assert len(lines) == 3
    assert not Path("out.jsonl").exists()


def test_agreement_with_expected_is_counted_where_rows_have_it(verify):
    rows = [boxed("34", expected=True), boxed("35", expected=False), boxed("35", expected=True), boxed("35")]
    assert "As expected: 2 of 3 (66.7%)" in verify(rows).out
    assert "As expected" not in verify([boxed("34", expected="yes")]).out


def test_json_prints_the_figures_and_nothing_else(verify):
    figures = json.loads(verify([boxed("34", expected=True), boxed("1", gold="")], "--json", "--out", "out.jsonl").out)
    assert figures["rows"] == 2
    assert figures["outcomes"] == {"correct": 1, "unverified": 1}
    assert figures["unverified"] == {"the target is empty": 1}
    assert figures["expected"] == {"met": 1, "rows": 1}
    assert figures["out"] == "out.jsonl"
    assert figures["verdicts_per_second"] == pytest.approx(2 / figures["seconds"])


def test_an_empty_file_has_no_verdicts(verify):
    assert json.loads(verify("\n \n", "--json").out)["rows"] == 0
    assert verify("").out.splitlines() == ["0 rows: 0 correct, 0 incorrect, 0 no_answer, 0 unverified"]


@pytest.mark.parametrize(
    ("row", "options", "outcome"),
    [
        ({"completion": "so it is 34"}, [], "no_answer"),
        ({"prediction": "so it is 34"}, [], "correct"),
        ({"completion": "so it is 34"}, ["--unmarked"], "correct"),
        ({"prediction": "so it is 34"}, ["--marked"], "no_answer"),
        ({"completion": "so it is 35", "prediction": "34"}, ["--unmarked"], "incorrect"),  # the completion goes first
    ],
)
def test_a_prediction_is_read_unmarked_and_a_completion_is_not(verify, row, options, outcome):
    assert verify([{**row, "gold": "34"}], *options, "--out", "out.jsonl").code == 0
    assert written()[0]["outcome"] == outcome


@pytest.mark.parametrize("gold", ["34", 34, 34.0, r"\boxed{34}"])
def test_the_target_may_be_a_number_and_its_field_may_be_called_target(verify, gold):
    for name in ("gold", "target"):
        verify([{"completion": r"\boxed{34}", name: gold}], "--out", "out.jsonl")
        assert written()[0]["outcome"] == "correct"


# Policy, target, answer: INCORRECT by default, or by the policy where it is the stricter one.
POLICIES = [
    ("percent=lenient", "10", r"10\%", "incorrect", "correct"),
    ("tolerance=0.01", "100", "100.5", "incorrect", "correct"),
    ("order=ordered", "1, 2", "2, 1", "correct", "incorrect"),
    ("units=required", r"5\text{ cm}", "5", "correct", "incorrect"),
    ("relation_as_set=false", r"x \in [1, 2]", r"1 \le x \le 2", "correct", "incorrect"),
]


@pytest.mark.parametrize(("policy", "gold", "answer", "by_default", "by_policy"), POLICIES)
def test_a_policy_changes_its_verdict(verify, policy, gold, answer, by_default, by_policy):
    rows = [boxed(answer, gold)]
    verify(rows, "--out", "out.jsonl")
    assert written()[0]["outcome"] == by_default
    verify(rows, "--out", "out.jsonl", "--set", policy)
    assert written()[0]["outcome"] == by_policy


def test_policies_add_up(verify):
    rows = [boxed(r"10\%", "10"), boxed("100.5", "100")]
    verify(rows, "--set", "percent=lenient", "--set", "tolerance=0.01", "--out", "out.jsonl")
    assert [row["outcome"] for row in written()] == ["correct", "correct"]


# Other kinds

ADD = {"tests": ["assert add(1, 2) == 3"]}


def test_rows_of_code_are_run(verify):
    if problem_with(Isolation.BUBBLEWRAP) and problem_with(Isolation.LANDLOCK):
        pytest.skip(f"no sandbox works on this machine: {problem_with(Isolation.BUBBLEWRAP)}")
    rows = [
        {**ADD, "completion": "def add(a, b): return a + b"},
        {**ADD, "completion": "def add(a, b): return a - b"},
        {**ADD, "completion": ""},
    ]
    assert verify(rows, "--kind", "code", "--out", "out.jsonl").code == 0
    assert [row["outcome"] for row in written()] == ["correct", "incorrect", "no_answer"]
    assert all(row["seconds"] > 0 for row in written())


def test_rows_of_logic_are_checked_against_their_puzzle(verify):
    puzzle = {"nums": [3, 4, 5], "target": 35}
    rows = [
        {**puzzle, "completion": r"\boxed{(3 + 4) * 5}"},
        {**puzzle, "completion": r"\boxed{3 + 4 * 5}"},
        {**puzzle, "prediction": "(4 + 3) * 5"},
        {**puzzle, "completion": "(4 + 3) * 5"},
    ]
    assert verify(rows, "--kind", "logic", "--out", "out.jsonl").code == 0
    assert [row["outcome"] for row in written()] == ["correct", "incorrect", "correct", "no_answer"]


# Mistakes: the file or its rows, options, what the message holds. The second row is the bad one.
GOOD = json.dumps(boxed("34"))
MISTAKES = [
    ("{", [], ["rows.jsonl, line 2", "no JSON"]),
    ('["gold"]', [], ["rows.jsonl, line 2", "list", "a JSON object was expected"]),
    ("[" * 100_000, [], ["rows.jsonl, line 2", "no JSON"]),
    ('{"gold": "34"}', [], ["rows.jsonl, line 2", "`completion`", "`prediction`", "gold"]),
    ("{}", [], ["rows.jsonl, line 2", "the fields are none"]),
    ('{"completion": 34, "gold": "34"}', [], ["rows.jsonl, line 2", "completion is int", "text"]),
    ('{"completion": "34", "answer": "34"}', [], ["rows.jsonl, line 2", "`gold`", "completion, answer"]),
    ('{"completion": "34", "gold": null}', [], ["rows.jsonl, line 2", "`gold` must be text or a number"]),
    ('{"completion": "34", "gold": true}', [], ["rows.jsonl, line 2", "`gold` must be text or a number"]),
    (GOOD, ["--kind", "maths"], ["maths", "math, code, logic"]),
    (GOOD, ["--kind", "code"], ["rows.jsonl, line 1", "tests"]),
    (GOOD, ["--kind", "logic"], ["rows.jsonl, line 1", "puzzle"]),
    (GOOD, ["--set", "percnt=lenient"], ["percnt", "did you mean percent?", "tolerance"]),
    (GOOD, ["--set", "wholly=other"], ["there is no policy 'wholly'. The policies are"]),
    (GOOD, ["--set", "percent=loose"], ["percent", "strict, lenient", "'loose'"]),
    (GOOD, ["--set", "percent"], ["percent is one of"]),
    (GOOD, ["--set", "tolerance=1"], ["tolerance=1", "between 0 and 1"]),
    (GOOD, ["--set", "tolerance=nan"], ["tolerance=nan", "between 0 and 1"]),
    (GOOD, ["--set", "tolerance=one"], ["tolerance=one", "between 0 and 1"]),
    (GOOD, ["--set", "is_remembered=false"], ["is_remembered"]),
]


@pytest.mark.parametrize(("line", "options", "expected"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_ends_with_2_says_where_and_writes_nothing(verify, line, options, expected):
    done = verify(f"{GOOD}\n{line}\n{GOOD}\n", *options, "--out", "out.jsonl")
    assert done.code == 2
    assert [fragment for fragment in expected if fragment not in done.err] == []
    assert done.out == ""
    assert not Path("out.jsonl").exists()


def test_blank_lines_count_as_lines(verify):
    assert "line 4" in verify(f"{GOOD}\n\n \n?\n").err


def test_a_file_that_is_not_there_is_named(verify, monkeypatch, capsys):
    verify([])
    monkeypatch.setattr(sys, "argv", ["razona", "verify", "absent.jsonl"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "absent.jsonl: there is no such file" in capsys.readouterr().err


def test_what_was_written_before_stays_when_a_line_is_bad(verify):
    verify([boxed("34")], "--out", "out.jsonl")
    before = Path("out.jsonl").read_bytes()
    assert verify(f"{GOOD}\n?\n", "--out", "out.jsonl").code == 2
    assert Path("out.jsonl").read_bytes() == before


# Other projects' labels

# Policy of `pairs.jsonl`, the switches it asks for, the ids of its rows whose label we do not follow; docs/verify.md
# has the reasons. Rows of other projects are worked solutions and bare answers, so they are read unmarked.
DISAGREEMENTS: list[tuple[str, dict, set[str]]] = [
    ("equivalence", {}, {"vp0094"}),
    ("format", {"is_unmarked_allowed": False}, {"vp0509"}),
    ("percent", {"percent": "lenient"}, {"vp0166"}),
    ("tolerance", {"tolerance": 0.01}, {"vp0513"}),
    ("order", {"order": "ordered"}, set()),
    ("set-vs-relation", {"relation_as_set": True}, {"vp0181"}),
    ("set-vs-relation", {"relation_as_set": False}, {"vp0180"}),  # these two rows contradict each other
    ("symbols", {}, {"vp0245"}),
    ("wrong-label", {}, {"vp0255"}),
    ("multilingual", {}, {"vp0286"}),
    ("junk", {}, {"vp0299", "vp0300"}),
    ("choice", {}, set()),
    ("text", {}, set()),
]


@pytest.fixture(scope="module")
def pairs() -> list[dict]:
    if not PAIRS.is_file():
        pytest.skip(f"the labelled pairs are not here ({PAIRS})")
    return [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("policy", "switches", "ids"), DISAGREEMENTS)
def test_the_documented_disagreements_are_all_there_are(pairs, policy, switches, ids):
    settings = Settings(**{"is_unmarked_allowed": True, **switches})
    rows = [row for row in pairs if row["policy"] == policy]
    found = {row["id"]: check(row["prediction"], row["gold"], settings).outcome is Outcome.CORRECT for row in rows}
    assert rows
    assert {row["id"] for row in rows if found[row["id"]] != row["expected"]} == ids


def test_every_policy_of_the_pairs_is_in_the_table(pairs):
    assert {row["policy"] for row in pairs} == {policy for policy, _, _ in DISAGREEMENTS}
