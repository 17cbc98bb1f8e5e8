"""Where an answer is found, when it is right, and what the form and the steps of a completion are."""

import time
from fractions import Fraction

import pytest

from razona.core.nouns import Outcome
from razona.verify import Tags, extract, find_solution, parse_number, read_form, read_steps, verify

TAGS = Tags()
THINK = Tags(working_open="<think>", working_close="</think>", solution_open="[[", solution_close="]]")
CORRECT, INCORRECT, NO_ANSWER, UNVERIFIED = Outcome.CORRECT, Outcome.INCORRECT, Outcome.NO_ANSWER, Outcome.UNVERIFIED
DEADLINE_S = 2.0

NUMBERS = [
    ("34", Fraction(34)),
    (" 34 ", Fraction(34)),
    ("34.", Fraction(34)),
    ("+34", Fraction(34)),
    ("-34", Fraction(-34)),
    ("\N{MINUS SIGN}34", Fraction(-34)),
    ("034", Fraction(34)),
    ("34.0", Fraction(34)),
    (".5", Fraction(1, 2)),
    ("-0", Fraction(0)),
    ("0.1", Fraction(1, 10)),  # not the nearest float
    ("3/4", Fraction(3, 4)),
    ("-6/8", Fraction(-3, 4)),
    ("1.5/3", Fraction(1, 2)),
    ("1,234", Fraction(1234)),
    ("-1,234.50", Fraction(-2469, 2)),
    ("1,234,567", Fraction(1234567)),
    ("$12", Fraction(12)),
    ("$34$", Fraction(34)),
    ("9" * 400, Fraction(10**400 - 1)),
    # no numbers
    ("", None),
    (".", None),
    (",", None),
    ("-", None),
    ("$", None),
    ("/3", None),
    ("3/0", None),
    ("3/-4", None),
    ("1/2/3", None),
    ("1,23", None),
    ("1234,567", None),
    (",234", None),
    ("1.2.3", None),
    ("--3", None),
    ("3-", None),
    ("1e5", None),
    ("0x1F", None),
    ("1_000", None),
    ("inf", None),
    ("nan", None),
    ("x", None),
    ("3 4", None),
    ("34%", None),
    ("34\n35", None),
    ("\N{ARABIC-INDIC DIGIT THREE}", None),
    ("\N{FULLWIDTH DIGIT THREE}", None),
    ("\N{SUPERSCRIPT TWO}", None),
    ("\N{VULGAR FRACTION ONE HALF}", None),
    ("9" * 401, None),
]


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_a_number_is_read_exactly_or_not_at_all(text, value):
    assert parse_number(text) == value


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
    ("Answer: 34<end_working_out>", "34", CORRECT),
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
    ("<SOLUTION> a \n b </SOLUTION>", "A b.", CORRECT),
    ("<SOLUTION>knights</SOLUTION>", "knight", INCORRECT),
    ("<SOLUTION>not a knight</SOLUTION>", "knight", INCORRECT),
    ("<SOLUTION>four</SOLUTION>", "4", INCORRECT),
    ("<SOLUTION>4</SOLUTION>", "four", INCORRECT),
    # more than an answer can be
    (f"<SOLUTION>{'9' * 1_001}</SOLUTION>", "9" * 1_001, INCORRECT),
    (f"<SOLUTION>34{' ' * 5_000}</SOLUTION>", "34", CORRECT),
    # our side failed
    ("<SOLUTION>34</SOLUTION>", "", UNVERIFIED),
    ("", " \n", UNVERIFIED),
]


@pytest.mark.parametrize(("completion", "target", "outcome"), VERDICTS)
def test_verify(completion, target, outcome):
    assert verify(completion, target, TAGS).outcome is outcome


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        ("so 30 + 4 = 34", CORRECT),
        ("so 34, 35", INCORRECT),
        ("34,", CORRECT),
        ("it is 34.", CORRECT),
        ("34 = 30 + 4", INCORRECT),
        ("no number", NO_ANSWER),
        ("Answer: 35. Or 34", INCORRECT),  # what is marked goes first
        ("<SOLUTION></SOLUTION>34", NO_ANSWER),
    ],
)
def test_the_last_number_counts_where_it_is_allowed(completion, outcome):
    assert verify(completion, "34", TAGS, allow_last_number=True).outcome is outcome


@pytest.mark.parametrize("target", ["34", "-34", "1/2", "knight", "x + 1", "1,234", "$5$", "\N{GREEK SMALL LETTER PI}"])
def test_every_target_is_correct_against_itself(target):
    assert verify(f"<SOLUTION>{target}</SOLUTION>", target, TAGS).outcome is CORRECT
    assert verify(rf"\boxed{{{target}}}", target, TAGS).outcome is CORRECT


def test_a_verdict_quotes_the_answer_as_it_stands_and_says_why():
    verdict = verify("<SOLUTION> 1,235 </SOLUTION>", "1234", TAGS)
    assert (verdict.answer, verdict.reason) == ("1,235", "'1,235' is not '1234'")
    assert verify("<SOLUTION>1,234</SOLUTION>", "1234", TAGS).answer == "1,234"
    assert verify("", "34", TAGS).answer is None
    assert verify("x", "", TAGS).reason == "the target is empty"


def test_the_tags_of_the_recipe_are_the_ones_that_count():
    assert verify("so</think>[[34]]", "34", THINK).outcome is CORRECT
    assert verify("so</think><SOLUTION>34</SOLUTION>", "34", THINK).outcome is NO_ANSWER


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
    assert extract("30 + 4 = 34", TAGS) is None
    assert extract("30 + 4 = 34", TAGS, allow_last_number=True) == "34"


FORMS = [
    ("3 + 4 = 7<end_working_out><SOLUTION>7</SOLUTION>", True, "3 + 4 = 7"),
    ("<end_working_out><SOLUTION>7</SOLUTION>", True, ""),
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
    verify(text, "34", TAGS, allow_last_number=True)
    read_form(text, TAGS)
    read_steps(text)
    assert time.perf_counter() - start < DEADLINE_S
