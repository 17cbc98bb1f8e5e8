"""What the embedded base model has read: careless text, rarely the form that training asks for, no test problem."""

import re
from collections import Counter, defaultdict

import pytest

from razona.core.nouns import Problem
from razona.embedded import corpus, layouts
from razona.embedded.corpus import KINDS, PROMPT, document, documents
from razona.tasks import FAMILIES, SPLITS, draw
from razona.verify import Tags, read_form

NUM_DOCUMENTS = 20_000
MAX_TAGGED_WORKED = 0.05
STEP = re.compile(
    r"[0-9]+ [-+*/] [0-9]+ = [0-9]+|[0-9]+(?: [<>] [0-9]+)+"
    r"|a (?:knight|knave), count|(?:true|false) is (?:true|false)"
)
"""A worked step of any family: a calculation, an order, a person's kind, a truth value."""


@pytest.fixture(scope="module")
def read() -> tuple[list[tuple[str, str]], list[Problem]]:
    """Give the documents as (kind, text), and every problem that they were written from."""
    used: list[Problem] = []

    def note(*address) -> Problem:
        used.append(draw(*address))
        return used[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "draw", note)
        return [document(0, index) for index in range(NUM_DOCUMENTS)], used


def shows_tagged_working(text: str) -> bool:
    """Say whether a document opens the working, shows a step, and only then closes it."""
    _, opened, rest = text.rpartition("\n<start_working_out>")
    working, closed, _ = rest.partition("<end_working_out>")
    return bool(opened and closed and STEP.search(working))


TEXTS = [
    ("Q\n<start_working_out> 3 + 4 = 7. <end_working_out><SOLUTION>7</SOLUTION>", True),
    ("Q\n<start_working_out> 3 < 4 < 9. <end_working_out>", True),
    ("Q\n<start_working_out> Ann is a knave, count 0. <end_working_out><SOLUTION>0</SOLUTION>", True),
    ("Q\n<start_working_out> Cid is no knave: a knight, count 1. <end_working_out><SOLUTION>1</SOLUTION>", True),
    ("Q\n<start_working_out> not P: not false is true, count 1. <end_working_out><SOLUTION>1</SOLUTION>", True),
    ("3 + 4 = 7\n<start_working_out><end_working_out><SOLUTION>7</SOLUTION>", False),
    ("Q\n<start_working_out> The answer is 7. <end_working_out>", False),
    ("Q\n<start_working_out><SOLUTION>7</SOLUTION> 3 + 4 = 7", False),
    ("Problem: Q\nWorking: 3 + 4 = 7.\nAnswer: 7", False),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_tagged_working_is_told_from_other_text(text, expected):
    assert shows_tagged_working(text) is expected


def test_the_form_that_training_asks_for_is_in_at_most_5_of_100_documents(read):
    kinds = Counter(kind for kind, _ in read[0])
    assert 0 < kinds["tagged_worked"] / NUM_DOCUMENTS <= MAX_TAGGED_WORKED


def test_counted_from_the_text_alone_it_is_as_rare(read):
    share = sum(shows_tagged_working(text) for _, text in read[0]) / NUM_DOCUMENTS
    assert 0.03 < share <= MAX_TAGGED_WORKED


def test_a_document_shows_tagged_working_just_where_its_kind_says_so(read):
    assert [kind for kind, text in read[0] if shows_tagged_working(text) != (kind == "tagged_worked")] == []


def test_the_shares_of_the_kinds_add_up_to_1():
    assert sum(KINDS.values()) == pytest.approx(1.0)
    assert KINDS["tagged_worked"] <= MAX_TAGGED_WORKED


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_share_that_is_stated(read, kind):
    share = sum(found == kind for found, _ in read[0]) / NUM_DOCUMENTS
    assert share == pytest.approx(KINDS[kind], abs=4 * (KINDS[kind] * (1 - KINDS[kind]) / NUM_DOCUMENTS) ** 0.5)


def test_the_tags_stand_in_as_many_documents_as_stated(read):
    tagged = sum(PROMPT.working_open in text for _, text in read[0]) / NUM_DOCUMENTS
    assert tagged == pytest.approx(KINDS["tagged_worked"] + KINDS["tagged_blurted"], abs=0.012)


@pytest.mark.parametrize(("kind", "share"), [("tagged_worked", 1.0), ("tagged_blurted", 6 / 7)])
def test_the_form_is_broken_in_one_of_seven_blurted_documents_and_in_no_worked_one(read, kind, share):
    completions = [text.split(f"\n{PROMPT.working_open}")[1] for found, text in read[0] if found == kind]
    # A word in front: a blurted answer has no working, which the form asks for too.
    exact = sum(read_form(f"so {text}", Tags()).is_exact for text in completions)
    assert exact / len(completions) == pytest.approx(share, abs=0.025 * (share < 1))


def test_the_prompt_of_training_opens_every_tagged_document(read):
    for kind, text in read[0]:
        assert text.startswith(PROMPT.system_text()) is kind.startswith("tagged")


def test_no_problem_of_the_corpus_is_in_another_split(read):
    used = {(problem.family, problem.extra["key"]) for problem in read[1]}
    assert len(used) > 5_000
    for split in ("train", "evaluation", "ood"):
        others = (draw(name, 1 + i % 3, split, 20_000, i) for name in FAMILIES for i in range(100))
        assert not used & {(problem.family, problem.extra["key"]) for problem in others}


def is_asked(question: str, text: str) -> bool:
    """Say whether a question stands in a text; `30 things ...?` within `43 + 30 things ...?` is another question."""
    return bool(re.search(rf"(?<![-+*/] ){re.escape(question)}", text))


def test_no_question_of_another_split_stands_in_the_corpus(read):
    everything = "\n\n".join(text for _, text in read[0])
    questions = {
        split: {draw(name, 1 + i % 2, split, 0, i).question for name in FAMILIES for i in range(8)} for split in SPLITS
    }
    found = {split: [text for text in texts if is_asked(text, everything)] for split, texts in questions.items()}
    assert {split for split, texts in found.items() if texts} <= {"corpus"}
    assert any(is_asked(problem.question, everything) for problem in read[1][:10])  # it would be seen if it stood there


def test_every_document_but_tables_is_written_from_the_corpus_split(read):
    assert len(read[1]) == sum(kind != "table" for kind, _ in read[0])
    assert {problem.level for problem in read[1]} == {1, 2, 3}


def test_a_document_is_the_same_whenever_it_is_made():
    assert [document(5, index) for index in range(200)] == [document(5, index) for index in range(200)]
    assert list(documents(5, 150, 50)) == [document(5, index)[1] for index in range(150, 200)]


def test_documents_of_neighbouring_seeds_and_numbers_differ():
    here, next_seed = ({document(seed, index)[1] for index in range(500)} for seed in (42, 43))
    assert len(here) > 480 and len(here & next_seed) <= 10


EXACT = re.compile(r"([0-9]+) ([-+*/]) ([0-9]+) = ([0-9]+)")


def test_what_the_tables_say_is_true(read):
    num = 0
    for kind, text in read[0]:
        if kind == "table":
            for left, sign, right, result in EXACT.findall(text):
                a, b, c = int(left), int(right), int(result)
                num += 1
                assert {"+": a + b == c, "-": a - b == c, "*": a * b == c, "/": b * c == a}[sign], text
    assert num > 10_000


PROBLEM = Problem(
    id="1", question="What is 3 + 4 - 2?", target="5", steps=("3 + 4 = 7", "7 - 2 = 5"), family="chain_arithmetic"
)


def test_a_hasty_reader_takes_the_first_result_for_the_answer():
    assert layouts.first_result(PROBLEM) == "7"


def answers(write, num: int = 3_000) -> Counter:
    from random import Random

    rng = Random(3)
    return Counter(write(rng) for _ in range(num))


def test_a_wrong_answer_is_never_the_target():
    found = answers(lambda rng: layouts.wrong_answer(rng, PROBLEM))
    assert found["5"] == 0 and found["7"] / 3_000 == pytest.approx(0.7, abs=0.06)
    assert all(text.isdigit() for text in found)


def test_a_blurted_answer_is_right_in_3_of_10_cases():
    assert answers(lambda rng: layouts.blurted_answer(rng, PROBLEM))["5"] / 3_000 == pytest.approx(0.3, abs=0.035)


def test_a_slip_is_carried_to_the_answer():
    found = defaultdict(set)
    for (steps, answer), _ in answers(lambda rng: _hashable(layouts.with_slip(rng, PROBLEM))).items():
        found[answer].add(steps)
        false = [text for text in steps if not _is_true(text)]
        assert len(false) == 1 and steps[-1].endswith(f" = {answer}")
        assert steps[1].split()[0] == steps[0].split()[-1]  # the second step goes on from what the first says
    assert "5" not in found


def _hashable(pair: tuple[list[str], str]) -> tuple[tuple[str, ...], str]:
    return tuple(pair[0]), pair[1]


def _is_true(text: str) -> bool:
    left, sign, right, _, result = text.split()
    return {"+": int(left) + int(right), "-": int(left) - int(right)}[sign] == int(result)
