"""What `razona data inspect` finds, on rows made by hand and on the real set; rows of other projects' layouts."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from razona.cli.main import app
from razona.core.nouns import Problem
from razona.data.benchmarks import Asked, read_in_order
from razona.data.inspect import inspect_problems
from razona.data.layouts import plain_row, strip_wrapper

SHARED = Path(__file__).parents[2] / "shared" / "data" / "problems"
APPLES = (
    "Ann has 12 red apples and gives 5 of them to her brother Ben before lunch. Ben eats his on the way to school, and "
    "nobody else takes any. How many apples does she have left?"
)
DAPO = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\n{}\n\n"
    'Remember to put your answer on its own line after "Answer:".'
)


def problems(*rows: tuple[str, str]) -> list[Problem]:
    return [Problem(id=f"p{number}", question=one, target=two) for number, (one, two) in enumerate(rows)]


def test_repeats_contradictions_near_repeats_and_variants_are_told_apart():
    found = inspect_problems(
        problems(
            (APPLES, "7"),
            (APPLES.upper().replace(" ", "  "), "7"),  # but for case and space the same
            (APPLES, "8"),  # and this contradicts it
            (APPLES, r"\frac{14}{2}"),  # and this does not
            (APPLES.replace("lunch", "dinner"), "7"),  # other words, the same numbers
            (APPLES.replace("12", "13"), "8"),  # the same words, other numbers
            ("What is the capital of France, spelt backwards, in 5 letters?", "siraP"),
        ),
        "made",
    )
    assert (found.duplicates.count, found.duplicates.examples) == (3, ("p0 = p1", "p0 = p2", "p0 = p3"))
    assert (found.contradictions.count, found.contradictions.examples) == (1, ("p0 = p2",))
    assert found.near_duplicates.examples == ("p0 = p4",)
    assert found.other_numbers.count == 1 and found.other_numbers.examples[0].endswith("= p5")


def test_a_target_that_cannot_be_read_is_named_with_its_reason():
    found = inspect_problems(problems(("a?", "7"), ("b?", "\\frac{1}{"), ("c?", "x" * 3_000)), "made")
    assert found.unverifiable is not None
    assert found.unverifiable.count >= 1 and all(": " in one for one in found.unverifiable.examples)
    assert not any(one.startswith("p0") for one in found.unverifiable.examples)
    assert inspect_problems(problems(("a?", "def f(): pass")), "code", is_math=False).unverifiable is None


def test_a_question_overlaps_with_one_that_it_holds_by_half_and_not_by_a_phrase():
    boilerplate = "where m and n are relatively prime positive integers. Find m + n."
    held_out = problems((f"A fair coin is tossed ten times and lands heads with chance m/n {boilerplate}", "1"),
                        ("What is 2 + 2?", "4"))  # fmt: skip
    ours = problems(
        (f"The area of the shaded triangle inside of the circle is m/n {boilerplate}", "5"),
        (f"Again: A fair coin is tossed ten times and lands heads with chance m/n {boilerplate} Good luck!", "1"),
        ("What is 2 + 2? Say it.", "4"),  # a short one counts when it is there whole
        ("What is 2 + 3?", "5"),
    )
    found = inspect_problems(ours, "made", {"held out": held_out})
    assert found.overlaps["held out"].examples == ("p1 = p0", "p2 = p1")


def test_the_hash_changes_with_a_target_and_not_with_the_source():
    one, two = problems(("a?", "7")), problems(("a?", "8"))
    assert inspect_problems(one, "x").sha256 == inspect_problems(one, "y").sha256
    assert inspect_problems(one, "x").sha256 != inspect_problems(two, "x").sha256


@pytest.mark.parametrize(
    ("row", "question", "answer"),
    [
        ({"question": "a?", "answer": "7"}, "a?", "7"),
        ({"prompt": [{"role": "user", "content": "a?"}], "reward_model": {"ground_truth": "7"}}, "a?", "7"),
        ({"prompt": [{"role": "user", "content": "a?"}], "reward_model": '{"ground_truth": ["7"]}'}, "a?", "7"),
        ({"messages": [{"role": "user", "content": "a?"}], "ground_truth": ["7"], "dataset": "gsm8k"}, "a?", "7"),
        (
            {
                "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a?"}],
                "reference_answer": "7",
            },
            "a?",
            "7",
        ),
        ({"question": "a?", "answer": "own", "ground_truth": "other"}, "a?", "own"),
    ],
)
def test_rows_of_other_layouts_have_a_question_and_an_answer(row: dict, question: str, answer: str):
    plain = plain_row(row)
    assert (plain["question"], plain["answer"]) == (question, answer)
    assert row.items() <= plain.items()  # nothing of its own is lost


def test_a_file_of_each_layout_loads(tmp_path: Path):
    rows = [
        {"prompt": [{"role": "user", "content": DAPO.format("What is 3 + 4?")}], "reward_model": {"ground_truth": "7"}},
    ]
    path = tmp_path / "verl.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (loaded,) = read_in_order(Asked(data=str(path))).problems
    assert (loaded.question, loaded.target) == ("What is 3 + 4?", "7")


def test_only_a_whole_wrapper_is_taken_off():
    assert strip_wrapper(DAPO.format("What is\n3 + 4?")) == "What is\n3 + 4?"
    half = DAPO.format("What is 3 + 4?").rsplit("\n\n", 1)[0]
    assert strip_wrapper(half) == half


def test_the_real_set_is_looked_through():
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there")
    asked = [str(SHARED / "dapo_math_17k.jsonl"), "--against", "math500", "--against", "aime24"]
    done = CliRunner().invoke(app, ["data", "inspect", *asked, "--data-folder", str(SHARED), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    # Counted independently: 662 questions repeat one to the letter, more but for case and space.
    assert found["problems"] == 17_917 and 662 <= found["duplicates"]["count"] < 1_500
    assert found["unverifiable"]["count"] == 0
    assert "dapo_math_17k-00035 = dapo_math_17k-00179" in found["contradictions"]["examples"]  # 64, and its exponent 6
    assert 10 < found["overlaps"]["math500"]["count"] < 100 and found["overlaps"]["aime24"]["count"] == 0
