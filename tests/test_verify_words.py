"""Answers with units, and answers that are words: choices, clock times, names."""

from fractions import Fraction

import pytest

from razona.verify.units import conversion, normal_unit, split_unit
from razona.verify.words import are_words, choice, chosen, clock_minutes, means_nothing, same_words

# Units

UNITS = [
    ("5 cm", "5", "cm"),
    (r"5\text{ cm}^2", "5", "cm^2"),
    ("5 square centimeters", "5", "cm^2"),
    ("5 sq. ft", "5", "ft^2"),
    (r"\frac{1}{2}\text{ inches}", r"\frac{1}{2}", "inch"),
    ("125 miles per hour", "125", "mi/h"),
    ("125 mph", "125", "mi/h"),
    ("60 km/h", "60", "km/h"),
    (r"\dollar 40", "40", "$"),
    ("40 dollars", "40", "$"),
    (r"\text{euro}5", "5", "euro"),
    ("34 apples", "34", "apple"),
    ("34 units", "34", ""),
    ("5 L", "5", "l"),
    ("3 x", "3 x", ""),
    ("3 pi", "3 pi", ""),
    (r"3\text{ and }4", r"3\text{ and }4", ""),
    (r"3\text{ and }", r"3\text{ and }", ""),
    ("apples", "apples", ""),
    ("", "", ""),
]


@pytest.mark.parametrize(("text", "body", "unit"), UNITS)
def test_split_unit(text, body, unit):
    quantity = split_unit(text)
    assert (quantity.body.strip(), quantity.unit) == (body, unit)


@pytest.mark.parametrize(
    ("words", "power", "expected"),
    [
        ("metres", "", "m"), ("Meters", "2", "m^2"), ("cubic feet", "", "ft^3"), ("inches", "", "inch"),
        ("in", "", "inch"), ("glass", "", "glass"), ("cents", "", "cent"), ("percent", "", "%"), ("pct", "", "%"), 
        ("kph", "", "km/h"), ("apples per day", "", "apple/day"), ("altogether", "", ""),
    ],
)  # fmt: skip
def test_normal_unit(words, power, expected):
    assert normal_unit(words, power) == expected


CONVERSIONS = [
    # answer's unit, target's unit, factor
    ("cm", "cm", Fraction(1)),
    ("", "cm", Fraction(1)),
    ("cm", "", Fraction(1)),
    ("m", "cm", Fraction(100)),
    ("cm^2", "m^2", Fraction(1, 10_000)),
    ("ft", "inch", Fraction(12)),
    ("mi", "ft", Fraction(5280)),
    ("h", "min", Fraction(60)),
    ("week", "day", Fraction(7)),
    ("$", "cent", Fraction(100)),
    ("kg", "g", Fraction(1000)),
    ("lb", "oz", Fraction(16)),
    ("ml", "l", Fraction(1, 1000)),
    ("cm", "inch", None),  # not across systems
    ("kg", "lb", None),
    ("cm", "cm^2", None),
    ("euro", "$", None),
    ("apple", "cm", None),
    ("apple", "pear", None),
    ("coin", "gold coin", Fraction(1)),
    ("m/s", "km/h", None),
]


@pytest.mark.parametrize(("answer", "target", "factor"), CONVERSIONS)
def test_conversion(answer, target, factor):
    assert conversion(answer, target) == factor


# Words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("east", True), ("New York", True), (r"\text{Evelyn}", True), ("x + y", False), ("sin", False),
        ("34", False), ("x=3", False), ("AB", False), (r"\frac{1}{2}", False), ("", False),
    ],
)  # fmt: skip
def test_are_words(text, expected):
    assert are_words(text) is expected


@pytest.mark.parametrize(
    ("target", "answer", "expected"),
    [
        ("East", r"\text{east}.", True),
        ("the knight", "a knight", True),
        ("New  York", "new york", True),
        ("no solution", "None", True),
        ("knight", "not a knight", False),
        ("knight", "knights", False),
        ("", "", False),
        ("the", "a", False),
    ],
)
def test_same_words(target, answer, expected):
    assert same_words(target, answer) is expected


def test_what_means_that_there_is_no_solution():
    assert [text for text in ("No solution.", r"\emptyset", r"\text{none}", "no", "0") if means_nothing(text)] == [
        "No solution.",
        r"\emptyset",
        r"\text{none}",
    ]


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("(C)", "C"), ("C.", "C"), (r"\text{(C)}", "C"), ("(C) 34", "C"), ("c", ""), ("K", ""), ("CD", ""), ("34", ""),
    ],
)  # fmt: skip
def test_choice(text, letter):
    assert choice(text) == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("D, it can't be A or B", "D"),
        ("not A, so B", "B"),
        ("A or B", ""),
        ("neither A nor B", ""),
        ("I think it is B", "B"),  # the word I chooses nothing
        ("C: because A is wrong", "C"),
    ],
)
def test_chosen(text, letter):
    assert chosen(text) == letter


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("20:34", 1234), ("8:34 PM", 1234), ("8:34 p.m.", 1234), (r"8:34\text{ am}", 514), ("12:00 am", 0),
        ("12:00 pm", 720), ("1:2", None), ("8:75", None), ("25:00", None), ("3:04:05", None), ("", None),
    ],
)  # fmt: skip
def test_clock_minutes(text, minutes):
    assert clock_minutes(text) == minutes
