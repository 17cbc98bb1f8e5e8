"""Where an answer is found, when it is right, and what the form and the steps of a completion are."""

import time

import pytest

from razona.core.nouns import Outcome
from razona.verify import Settings, Tags, check, extract, find_solution, read_form, read_steps

TAGS = Tags()
THINK = Tags(working_open="<think>", working_close="</think>", solution_open="[[", solution_close="]]")
CORRECT, INCORRECT, NO_ANSWER, UNVERIFIED = Outcome.CORRECT, Outcome.INCORRECT, Outcome.NO_ANSWER, Outcome.UNVERIFIED
UNMARKED = Settings(is_unmarked_allowed=True)
DEADLINE_S = 2.0

# Completion, target, what is found out. The completion starts inside the working.
VERDICTS = [
    # solution block
    ("<end_working_out><SOLUTION>34</SOLUTION>", "34", CORRECT),
    ("so<end_working_out><SOLUTION> 34. \n</SOLUTION>", "34", CORRECT),
    ("<SOLUTION>1,234</SOLUTION>", "1234", CORRECT),
    ("<SOLUTION>0.5</SOLUTION>", "1/2", CORRECT),
    ("<SOLUTION>0.0</SOLUTION>", "0", CORRECT),
    ("<SOLUTION>-0</SOLUTION>", "0", CORRECT),
    ("<SOLUTION>$34$</SOLUTION>", "34", CORRECT),
    (r"<SOLUTION>\boxed{34}</SOLUTION>", "34", CORRECT),
    ("<SOLUTION>34</SOLUTION>", "34.0", CORRECT),
    ("<SOLUTION>34</SOLUTION>", " 34 ", CORRECT),
    ("<SOLUTION>35</SOLUTION>", "34", INCORRECT),
    ("<SOLUTION>99</SOLUTION>", "100", INCORRECT),  # a tolerance of 1 % would pay for this
    ("<SOLUTION>0.333</SOLUTION>", "1/3", INCORRECT),
    ("<SOLUTION>34 or 35</SOLUTION>", "34", INCORRECT),
    ("<SOLUTION>34, 35</SOLUTION>", "34", INCORRECT),
    ("<SOLUTION>34/7</SOLUTION>", "34", INCORRECT),
    ("<SOLUTION>34^2</SOLUTION>", "34", INCORRECT),
    ("<SOLUTION>34 34</SOLUTION>", "34", INCORRECT),
    ("<SOLUTION>034.000001</SOLUTION>", "34", INCORRECT),
    ("<SOLUTION>none</SOLUTION> 34", "34", INCORRECT),
    ("<SOLUTION>,</SOLUTION>", "34", INCORRECT),
    ("<SOLUTION></SOLUTION>", "34", NO_ANSWER),
    ("<SOLUTION> \n </SOLUTION>", "34", NO_ANSWER),
    ("<SOLUTION>34", "34", NO_ANSWER),  # cut short
    ("34</SOLUTION>", "34", NO_ANSWER),
    ("</SOLUTION>34<SOLUTION>", "34", NO_ANSWER),
    ("<solution>34</solution>", "34", NO_ANSWER),
    # the last block is the answer, whatever came before it
    ("<SOLUTION>35</SOLUTION> no, <SOLUTION>34</SOLUTION>", "34", CORRECT),
    ("<SOLUTION>34</SOLUTION> no, <SOLUTION>35</SOLUTION>", "34", INCORRECT),
    ("<SOLUTION>34</SOLUTION> and <SOLUTION>", "34", CORRECT),
    ("<SOLUTION>35<SOLUTION>34</SOLUTION>", "34", CORRECT),
    (r"\boxed{34}<SOLUTION>35</SOLUTION>", "34", INCORRECT),
    ("The answer is 34.<SOLUTION>35</SOLUTION>", "34", INCORRECT),
    # box
    (r"so \boxed{34}.", "34", CORRECT),
    (r"\boxed{35} no, \boxed{34}", "34", CORRECT),
    (r"\boxed{34} no, \boxed{35}", "34", INCORRECT),
    (r"\boxed{34} and \boxed{35", "34", CORRECT),  # the second is cut short: the last balanced one counts
    (r"\boxed{35 and \boxed{34}", "34", CORRECT),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}", CORRECT),
    (r"\boxed{\boxed{34}}", "34", CORRECT),
    (r"\boxed{34", "34", NO_ANSWER),
    (r"\boxed{}", "34", NO_ANSWER),
    (r"The answer is 35, I mean \boxed{34}", "34", CORRECT),
    # words that mark an answer
    ("The answer is 34.", "34", CORRECT),
    ("The answer is: $34$.", "34", CORRECT),
    ("ANSWER: 34", "34", CORRECT),
    ("Result: -34 apples", "-34", CORRECT),
    ("#### 72", "72", CORRECT),
    ("The answer is 1,234.", "1234", CORRECT),
    ("The answer is 34, because 30 + 4 = 34.", "34", CORRECT),
    ("The answer is 34 - as I said.", "34", CORRECT),
    ("Answer: 35\nAnswer: 34", "34", CORRECT),
    ("Answer: 34\nAnswer: 35", "34", INCORRECT),
    ("Answer: 34<end_working_out>", "34", NO_ANSWER),  # in the working
    ("The answer is 34 or 35.", "34", INCORRECT),  # hedges: Visual-RFT#79
    ("The answer is 34 and 35.", "34", INCORRECT),
    ("The answer is 34, 35 or 36.", "34", INCORRECT),
    ("The answer is 34; 35.", "34", INCORRECT),
    ("The answer is 34^2.", "34", INCORRECT),
    ("The answer is 34.5^2.", "34.5", INCORRECT),
    ("The answer is 34 + 1.", "34", INCORRECT),
    ("The answer is 34 - 1.", "34", INCORRECT),
    ("The answer is 34 / 2.", "34", INCORRECT),
    ("The answer is 34/7.", "34", INCORRECT),
    ("The answer is 345.", "34", INCORRECT),
    ("The answer is 1,23.", "1", INCORRECT),
    ("The answer is", "34", NO_ANSWER),
    ("The answer is <SOLUTION>34", "34", NO_ANSWER),
    # nothing is marked
    ("", "34", NO_ANSWER),
    ("34", "34", NO_ANSWER),
    ("17 + 17 = 34", "34", NO_ANSWER),
    # other text, letter by letter
    ("<SOLUTION>Knight</SOLUTION>", "knight", CORRECT),
    ("<SOLUTION> new \n york </SOLUTION>", "New York.", CORRECT),
    ("<SOLUTION>knights</SOLUTION>", "knight", INCORRECT),
    ("<SOLUTION>not a knight</SOLUTION>", "knight", INCORRECT),
    ("<SOLUTION>four</SOLUTION>", "4", INCORRECT),
    ("<SOLUTION>4</SOLUTION>", "four", INCORRECT),
    # more than an answer can be
    (f"<SOLUTION>{'9' * 2_001}</SOLUTION>", "9" * 2_001, INCORRECT),
    (f"<SOLUTION>34{' ' * 5_000}</SOLUTION>", "34", CORRECT),
    # our side failed
    ("<SOLUTION>34</SOLUTION>", "", UNVERIFIED),
    ("", " \n", UNVERIFIED),
]


@pytest.mark.parametrize(("completion", "target", "outcome"), VERDICTS)
def test_verify(completion, target, outcome):
    assert check(completion, target).outcome is outcome


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        ("so 30 + 4 = 34", CORRECT),
        ("so 34, 35", INCORRECT),
        ("34,", CORRECT),
        ("it is 34.", CORRECT),
        ("34 = 30 + 4", CORRECT),
        ("no number", INCORRECT),
        ("34<end_working_out>", CORRECT),
        ("Answer: 35. Or 34", INCORRECT),  # what is marked goes first
        ("<SOLUTION></SOLUTION>34", NO_ANSWER),
    ],
)
def test_the_last_number_counts_where_it_is_allowed(completion, outcome):
    assert check(completion, "34", UNMARKED).outcome is outcome


@pytest.mark.parametrize("target", ["34", "-34", "1/2", "knight", "x + 1", "1,234", "$5$", "\N{GREEK SMALL LETTER PI}"])
def test_every_target_is_correct_against_itself(target):
    assert check(f"<SOLUTION>{target}</SOLUTION>", target).outcome is CORRECT
    assert check(rf"\boxed{{{target}}}", target).outcome is CORRECT


def test_a_verdict_quotes_the_answer_as_it_stands_and_says_why():
    verdict = check("<SOLUTION> 1,235 </SOLUTION>", "1234")
    assert (verdict.answer, verdict.reason) == ("1,235", "'1,235' is not '1234'")
    assert check("<SOLUTION>1,234</SOLUTION>", "1234").answer == "1,234"
    assert check("", "34").answer is None
    assert check("x", "").reason == "the target is empty"


def test_the_tags_of_the_recipe_are_the_ones_that_count():
    assert check("so</think>[[34]]", "34", Settings(tags=THINK)).outcome is CORRECT
    assert check("so</think><SOLUTION>34</SOLUTION>", "34", Settings(tags=THINK)).outcome is NO_ANSWER


@pytest.mark.parametrize(
    ("text", "solution"),
    [
        ("a<SOLUTION>b</SOLUTION>c", "b"),
        ("<SOLUTION>a<SOLUTION>b</SOLUTION>", "b"),
        ("<SOLUTION>a</SOLUTION>b</SOLUTION>", "a</SOLUTION>b"),
        ("<SOLUTION>", None),
        ("</SOLUTION>", None),
    ],
)
def test_find_solution(text, solution):
    assert find_solution(text, TAGS) == solution


def test_an_answer_that_is_not_marked_is_not_extracted():
    assert extract("30 + 4 = 34", TAGS).answers == ()
    assert extract("so we have 30 and 4 and in all 34", TAGS, is_unmarked_allowed=True).answers == ("34",)


FORMS = [
    ("3 + 4 = 7<end_working_out><SOLUTION>7</SOLUTION>", True, "3 + 4 = 7"),
    ("<end_working_out><SOLUTION>7</SOLUTION>", False, ""),
    (" \n<end_working_out><SOLUTION>7</SOLUTION>", False, " \n"),
    ("a<end_working_out>\n <SOLUTION>\n7\n</SOLUTION> \n", True, "a"),
    ("a<end_working_out><SOLUTION>7</SOLUTION>.", False, "a"),
    ("a<end_working_out>so <SOLUTION>7</SOLUTION>", False, "a"),
    ("a<end_working_out><SOLUTION></SOLUTION>", False, "a"),
    ("a<end_working_out><SOLUTION> </SOLUTION>", False, "a"),
    ("a<end_working_out><SOLUTION>7", False, "a"),
    ("a<end_working_out>7</SOLUTION>", False, "a"),
    ("a<end_working_out>", False, "a"),
    ("a<SOLUTION>7</SOLUTION>", False, "a<SOLUTION>7</SOLUTION>"),
    ("a", False, "a"),
    ("", False, ""),
    ("a<SOLUTION>7</SOLUTION><end_working_out>", False, "a<SOLUTION>7</SOLUTION>"),
    ("<start_working_out>a<end_working_out><SOLUTION>7</SOLUTION>", False, "<start_working_out>a"),
    ("a<end_working_out>b<end_working_out><SOLUTION>7</SOLUTION>", False, "a"),
    ("a<end_working_out><SOLUTION>7</SOLUTION><SOLUTION>8</SOLUTION>", False, "a"),
    ("a<end_working_out><SOLUTION>7<SOLUTION></SOLUTION>", False, "a"),
    ("a<end_working_out><SOLUTION>7</SOLUTION><end_working_out>", False, "a"),
    ("a<SOLUTION><end_working_out><SOLUTION>7</SOLUTION>", False, "a<SOLUTION>"),
]


@pytest.mark.parametrize(("text", "is_exact", "working"), FORMS)
def test_read_form(text, is_exact, working):
    report = read_form(text, TAGS)
    assert (report.is_exact, report.working) == (is_exact, working)


# Text, steps shown, steps that are true.
STEPS = [
    ("", 0, 0),
    ("34", 0, 0),
    ("12 + 5 = 17. 17 - 8 = 9.", 2, 2),
    ("12 + 5 = 17. 17 - 8 = 8.", 2, 1),
    ("12+5=17", 1, 1),
    ("3 * 4 = 12, 12 / 4 = 3", 2, 2),
    ("7 / 2 = 3", 1, 0),
    ("7 / 2 = 3.5", 1, 1),
    ("7 / 0 = 7", 1, 0),
    ("0.1 + 0.2 = 0.3", 1, 1),  # not so in floats
    ("3 - 5 = -2", 1, 1),
    ("3 - 5 = 2", 1, 0),
    ("- 12 + 5 = 17\n- 17 - 8 = 9", 2, 2),  # a list
    ("3 < 4 < 9", 1, 1),
    ("9 > 4 > 3", 1, 1),
    ("3 < 9 < 4", 1, 0),
    ("3 < 3", 1, 0),
    ("3 < 9 > 4", 1, 1),
    ("10 < 9", 1, 0),  # not as text
    ("3 + 4 + 5 = 12", 0, 0),  # two operations on the left are not read, least of all as 4 + 5 = 12
    ("3*4 - 2=10", 0, 0),
    ("(3 + 4) * 5 = 35", 0, 0),
    ("x + 5 = 17", 0, 0),
    ("Bob is a knave", 0, 0),
    ("3 + 4 = 7 = 7", 1, 1),
    ("13 + 4 = 17", 1, 1),
    ("1.2.3 + 4 = 7", 0, 0),
    ("<SOLUTION>3</SOLUTION>", 0, 0),
]


@pytest.mark.parametrize(("text", "count", "true"), STEPS)
def test_read_steps(text, count, true):
    report = read_steps(text)
    assert (report.count, report.true) == (count, true)


HOSTILE = [
    "<SOLUTION>" * 20_000,
    "</SOLUTION>" * 20_000,
    "<SOLUTION></SOLUTION>" * 10_000,
    "<end_working_out>" * 12_000,
    "<end_working_out><SOLUTION>" + "34</SOLUTION> " * 14_000,
    r"\boxed{" * 28_000,
    r"\boxed{" + "{}" * 100_000,
    "{" * 200_000,
    "}" * 200_000,
    "answer is " * 20_000,
    "answer is" + " " * 200_000,
    "answer is " + "1," * 100_000,
    "answer is 1" + " " * 200_000 + "x",
    "#" * 200_000,
    "9" * 200_000,
    "1 + " * 50_000,
    "1 < " * 50_000 + "1",
    "1+1=" * 50_000,
    "<SOLUTION>" + " " * 200_000 + "</SOLUTION>",
    "<SOLUTION>" + "9" * 200_000 + "</SOLUTION>",
    "\N{COMBINING ACUTE ACCENT}" * 200_000,
    "\0" * 200_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_200_kilobytes_of_hostile_text_are_judged_within_the_deadline(text):
    start = time.perf_counter()
    check(text, "34", UNMARKED)
    read_form(text, TAGS)
    read_steps(text)
    assert time.perf_counter() - start < DEADLINE_S
