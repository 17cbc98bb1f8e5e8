# ruff: noqa: RUF001 - letters of many scripts are what is tested
"""What each reward pays for one completion, and why it says it did."""

from itertools import product

import pytest

from razona.core.errors import RecipeError, RewardError
from razona.core.nouns import Outcome, Verdict
from razona.recipe import RewardComponent, RewardsSection, VerifySection
from razona.recipe.components import FACTS, SCRIPTS, Span, check_components, check_soundness, facts_of
from razona.rewards import COMPONENTS, Mix
from razona.rewards.judge import settings_of
from razona.rewards.sample import Sample
from razona.rewards.style import PREFIXES
from razona.verify import Settings, Tags, check

TAGS = Tags()
CLOSE, OPEN, END = TAGS.working_close, TAGS.solution_open, TAGS.solution_close


def solved(answer: str, working: str = "I add.") -> str:
    return f"{working}{CLOSE}{OPEN}{answer}{END}"


def value(name: str, text: str, target: str = "34", **fields: object):
    verdict = fields.pop("verdict", None) or check(text, target, Settings(tags=TAGS))
    return COMPONENTS[name](Sample(text=text, target=target, tags=TAGS, verdict=verdict, **fields))


def test_the_recipe_knows_the_rewards_that_there_are():
    assert list(FACTS) == list(COMPONENTS)
    assert set(SCRIPTS) == set(PREFIXES)


def test_the_defaults_of_a_recipe_are_those_of_the_verifier():
    assert settings_of(VerifySection(), TAGS) == Settings(tags=TAGS)


FAULTS = [
    ("34", "the working never ends"),
    (f" {CLOSE}{OPEN}34{END}", "the working is empty"),
    (f"I{OPEN}{CLOSE}{OPEN}34{END}", f"{OPEN} stands in the working"),
    (f"I{CLOSE}", f"{OPEN} stands 0 times after the working, and should once"),
    (solved("34") + f"{OPEN}35{END}", f"{OPEN} stands 2 times after the working, and should once"),
    (f"I{CLOSE} so {OPEN}34{END}", "text stands between the working and the solution"),
    (solved("34") + ".", "text stands after the solution"),
    (solved(" "), "the solution is empty"),
    (f"I{CLOSE}{OPEN}34{CLOSE}{END}", "a mark stands where it should not"),
]


@pytest.mark.parametrize(("text", "why"), FAULTS)
def test_a_form_that_is_not_exact_gets_0_and_its_first_fault(text, why):
    found = value("format", text)
    assert (found.value, found.why) == (0.0, why)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        (solved("34"), 1.0),
        (solved("34") + " and more", 1.0),  # only `format` looks after the marks
        (f"{CLOSE}{OPEN}34{END}", 0.75),  # no working
        (f"I{CLOSE}{OPEN}34", 0.75),
        (f"I{CLOSE}34", 0.5),
        (f"{OPEN}34{END}", 0.5),
        (f"I{CLOSE}{END}34{OPEN}", 0.75),  # the end before the beginning
        (solved("34") + END, 0.75),
        (CLOSE * 3 + OPEN * 3 + END * 3, 0.0),
    ],
)
def test_partial_form_is_the_share_of_marks_in_place_and_working(text, share):
    assert value("format_partial", text).value == share


@pytest.mark.parametrize(
    ("answer", "target", "expected"),
    [
        ("34", "34", 1.0),
        ("34.0", "34", 1.0),
        ("35", "34", 1 - (1 / 34) / 0.2),  # 0.853: wrong, and paid
        ("33", "34", 1 - (1 / 34) / 0.2),
        ("37.4", "34", 0.5),  # 10 %
        ("40.8", "34", 0.0),  # 20 %
        ("-34", "34", 0.0),
        (r"\frac{9}{20}", "1/2", 0.5),
        ("0.1", "0", 0.0),
        ("34, 35", "34", 0.0),
        ("nan", "34", 0.0),
        ("inf", "34", 0.0),
        ("9^{9^{9^9}}", "34", 0.0),
        ("words", "34", 0.0),
        ("1/0", "34", 0.0),
    ],
)
def test_a_near_number_falls_linearly_to_0_at_20_percent(answer, target, expected):
    assert value("number_close", solved(answer), target).value == pytest.approx(expected)


def test_number_close_warns_in_one_line_that_it_pays_for_wrong_numbers(caplog):
    Mix([RewardComponent(name="correct"), RewardComponent(name="number_close", weight=0.5)], TAGS, mix="sound")
    assert len(caplog.records) == 1
    assert "35 for 34 is wrong" in caplog.text and len(caplog.text.splitlines()) == 1
    assert "number_close" not in RewardsSection().weights()


@pytest.mark.parametrize(
    ("outcome", "passed", "run", "expected", "why"),
    [
        (Outcome.CORRECT, 5, 5, 1.0, "all 5 tests pass"),
        (Outcome.INCORRECT, 3, 5, 0.6, "3 of 5 tests pass"),
        (Outcome.INCORRECT, 0, 5, 0.0, "0 of 5 tests pass"),
        (Outcome.INCORRECT, 5, 5, 0.8, "4 of 5 tests pass"),  # 1 only where the verdict is CORRECT
        (Outcome.INCORRECT, 0, 0, 0.0, "it has no code"),
    ],
)
def test_code_gets_the_share_of_its_tests_and_1_only_for_all(outcome, passed, run, expected, why):
    verdict = Verdict(outcome=outcome, reason="it has no code")
    found = value("code_tests", "x", verdict=verdict, tests_passed=passed, tests_run=run)
    assert (found.value, found.why) == (expected, why)


@pytest.mark.parametrize(
    ("answer", "row", "expected"),
    [
        ("(3 + 4) * 5", {"nums": [3, 4, 5], "target": 35}, 1.0),
        ("3 + 4 * 5", {"nums": [3, 4, 5], "target": 35}, 0.0),
        ("(3 + 4) * 5", {}, None),
    ],
)
def test_logic_judges_the_puzzle_of_the_row_and_nothing_without_one(answer, row, expected):
    assert value("logic", solved(answer), row=row).value == expected


@pytest.mark.parametrize(
    ("tokens", "options", "expected"),
    [
        (0, {"target_tokens": 100, "buffer": 50}, 0.0),
        (100, {"target_tokens": 100, "buffer": 50}, 0.0),
        (101, {"target_tokens": 100, "buffer": 50}, -0.02),
        (125, {"target_tokens": 100, "buffer": 50}, -0.5),
        (150, {"target_tokens": 100, "buffer": 50}, -1.0),
        (10**9, {"target_tokens": 100, "buffer": 50}, -1.0),
        (110, {"target_tokens": 100}, -0.4),  # a buffer of 25
        (2, {"target_tokens": 1}, -1.0),
        (18_432, {"target_tokens": 16_384, "buffer": 4_096}, -0.5),  # the numbers of DAPO
    ],
)
def test_length_falls_linearly_over_the_buffer(tokens, options, expected):
    assert value("length", "x", num_tokens=tokens, options=options).value == pytest.approx(expected)


def test_length_refuses_to_guess_tokens_from_characters():
    mix = Mix([RewardComponent(name="length", options={"target_tokens": 5})], TAGS)
    with pytest.raises(RewardError, match=r"no completion_ids .* TRL's GRPOTrainer"):
        mix(completions=["x" * 100], target=["34"])
    assert mix(completions=["x"], target=["34"], completion_ids=[[1] * 6]) == [-1.0]


@pytest.mark.parametrize(
    ("working", "script", "share"),
    [
        ("I add.", "latin", 1.0),
        ("Ich füge hinzu.", "latin", 1.0),
        ("我加", "latin", 0.0),
        ("ab 我加", "latin", 0.5),
        ("ab 我加", "han", 0.5),
        ("3 + 4 = 7", "latin", 1.0),  # no letters
        ("3 + 4 = 7，", "latin", 1.0),
        ("2πr", "latin", 1.0),  # a formula's Greek
        ("και", "latin", 0.0),
        ("και", "greek", 1.0),
        ("𝑥 + 𝑦 = ab", "latin", 1.0),
        ("ｆｕｌｌ", "latin", 1.0),
        ("Сложим", "cyrillic", 1.0),
        ("足し算カ", "japanese", 1.0),
        ("더한다", "hangul", 1.0),
        (" \n", "latin", 0.0),  # empty
    ],
)
def test_language_is_the_share_of_letters_of_the_script(working, script, share):
    assert value("language", solved("34", working), options={"script": script}).value == share


def test_language_does_not_look_at_the_solution():
    assert value("language", solved("三十四"), options={"script": "latin"}).value == 1.0


# --- Options and soundness -----------------------------------------------------------------------------------------

WRONG_OPTIONS = [
    ({"name": "length", "options": {"target_token": 3}}, "math", ["target_token,", "Did you mean target_tokens?"]),
    ({"name": "length"}, "math", ["length without its option target_tokens"]),
    ({"name": "length", "options": {"target_tokens": 0}}, "math", ["target_tokens = 0", "1 or more"]),
    ({"name": "length", "options": {"target_tokens": True}}, "math", ["target_tokens = True"]),
    ({"name": "language", "options": {"script": "latn"}}, "math", ["script = 'latn'", "latin, cyrillic"]),
    ({"name": "format", "options": {"strict": True}}, "math", ["format the option strict", "has no options"]),
    ({"name": "a:b", "options": {"range": [1, 0]}}, "math", ["range = [1, 0]", "[LOW, HIGH]"]),
    ({"name": "a:b", "options": {"range": [1]}}, "math", ["range = [1]"]),
    ({"name": "a:b", "options": {"rnage": [0, 1]}}, "math", ["Did you mean range?"]),
    ({"name": "corect"}, "math", ["corect", "Did you mean correct?", "package.module:function"]),
    ({"name": "code_tests"}, "math", ["kind code", "rewards.kind = math", "rewards.kind: code"]),
    ({"name": "number_close"}, "code", ["kind math", "rewards.kind = code"]),
]


@pytest.mark.parametrize(("component", "kind", "fragments"), WRONG_OPTIONS)
def test_a_component_that_cannot_be_is_refused_with_the_way_out(component, kind, fragments):
    with pytest.raises(RecipeError) as caught:
        check_components([RewardComponent(**component)], kind)
    assert [fragment for fragment in fragments if fragment not in str(caught.value)] == []


def components(*given: tuple) -> list[RewardComponent]:
    return [
        RewardComponent(name=name, weight=weight, when=when, options=options) for name, weight, when, options in given
    ]


UNSOUND = [
    (components(("correct", 1.0, "always", {}), ("format", 1.0, "always", {})), ["add up to 1", "the 1 of `correct`"]),
    (
        components(
            ("correct", 1.0, "always", {}), ("format", 0.5, "always", {}), ("format_partial", 0.5, "always", {})
        ),
        ["add up to 1", "format 0.5, format_partial 0.5"],
    ),
    (
        components(
            ("correct", 1.0, "always", {}),
            ("format", 0.5, "always", {}),
            ("length", 0.5, "always", {"target_tokens": 9}),
        ),
        ["add up to 0.5", "no more than 0.5", "length -0.5"],
    ),
    (components(("correct", 1.0, "always", {}), ("length", 1.0, "correct", {"target_tokens": 9})), ["length -1"]),
    (components(("correct", 1.0, "always", {}), ("check_answer", 0.5, "always", {})), ["add up to 2.5"]),
    (components(("correct", 1.0, "always", {}), ("a:b", 0.1, "always", {})), ["a:b", "range: [LOW, HIGH]"]),
    (components(("correct", 1.0, "always", {}), ("a:b", 1.0, "always", {"range": [-1, 1]})), ["add up to 1"]),
    (components(("correct", 1.0, "always", {}), ("a:b", 1.0, "correct", {"range": [-1, 1]})), ["a:b -1"]),
    # None counts as 0, so a right completion may get 0 of it where a wrong one gets 6.
    (components(("correct", 1.0, "always", {}), ("a:b", 0.5, "always", {"range": [5, 6]})), ["add up to 3", "a:b 3"]),
    (components(("format", 1.0, "always", {})), ["no `correct`"]),
]


@pytest.mark.parametrize(("given", "fragments"), UNSOUND)
def test_a_mix_that_could_pay_wrong_as_much_as_right_is_refused_with_the_numbers(given, fragments):
    with pytest.raises(RecipeError) as caught:
        check_soundness("sound", given)
    assert [fragment for fragment in fragments if fragment not in str(caught.value)] == []
    check_soundness("sum", given)


SOUND = [
    components(("correct", 1.0, "always", {}), ("format", 5.0, "correct", {})),
    components(("correct", 1.0, "always", {}), ("length", 0.9, "always", {"target_tokens": 9})),
    components(("correct", 1.0, "always", {}), ("code_tests", 1.0, "always", {})),  # 1 for right programs only
    components(("correct", 12.0, "always", {}), ("check_answer", 1.0, "always", {})),  # from -4.5 to 5
    components(("correct", 1.0, "always", {}), ("a:b", 0.4, "always", {"range": [-1, 1]})),
    components(("correct", 1.0, "always", {}), ("a:b", 1.0, "correct", {"range": [0, 9]})),
]


@pytest.mark.parametrize("given", SOUND)
def test_a_mix_in_which_right_always_outranks_wrong_is_taken(given):
    check_soundness("sound", given)


def corners(span: Span) -> list[float]:
    return [span.low, (span.low + span.high) / 2, span.high]


@pytest.mark.parametrize(
    "given", [*SOUND, *(one for one, _ in UNSOUND[:5]), UNSOUND[6][0], UNSOUND[7][0], UNSOUND[8][0]]
)
def test_the_proof_agrees_with_trying_every_combination_of_values(given):
    def totals(is_right: bool) -> list[float]:
        choices = []
        for one in given:
            facts = facts_of(one)
            is_paid = one.when == "always" or is_right
            values = corners(facts.if_correct if is_right else facts.if_incorrect) if is_paid else [0.0]
            choices.append([one.weight * number for number in values])
        return [sum(parts) for parts in product(*choices)]

    is_sound = min(totals(True)) > max(totals(False)) + 1e-9
    if is_sound:
        check_soundness("sound", given)
    else:
        with pytest.raises(RecipeError):
            check_soundness("sound", given)
