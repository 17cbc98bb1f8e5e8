r"""Units and currencies around a number: `5 cm`, `15\text{ cm}^2`, `\$40`, `34 apples`, `125 miles per hour`."""

import re
from dataclasses import dataclass
from fractions import Fraction

_METRIC = {"millimeter": "mm", "centimeter": "cm", "meter": "m", "kilometer": "km", "milligram": "mg", "gram": "g", "kilogram": "kg",
           "milliliter": "ml", "liter": "l", "second": "s", "sec": "s", "minute": "min", "hour": "h", "hr": "h", "inche": "inch", "in": "inch",
           "feet": "ft", "foot": "ft", "yard": "yd", "mile": "mi", "pound": "lb", "ounce": "oz", "dollar": "$", "usd": "$", "buck": "$", "degree": "deg",
           "radian": "rad", "percentage": "percent", "pct": "percent", "kmh": "km/h", "kph": "km/h", "mph": "mi/h", "cubic": "cubic", "day": "day",
           "metre": "m", "centimetre": "cm", "kilometre": "km", "millimetre": "mm", "litre": "l", "euro": "euro", "cent": "cent", "euros": "euro", "inches": "inch", "L": "l"}  # fmt: skip
_IN_BASE = {
    "mm": ("length", Fraction(1, 1000)), "cm": ("length", Fraction(1, 100)), "m": ("length", Fraction(1)), "km": ("length", Fraction(1000)),
    "mg": ("mass", Fraction(1, 1000)), "g": ("mass", Fraction(1)), "kg": ("mass", Fraction(1000)),
    "ml": ("volume", Fraction(1, 1000)), "l": ("volume", Fraction(1)),
    "s": ("time", Fraction(1)), "min": ("time", Fraction(60)), "h": ("time", Fraction(3600)), "day": ("time", Fraction(86400)), "week": ("time", Fraction(604800)),
    "cent": ("money", Fraction(1, 100)), "$": ("money", Fraction(1)),
    "inch": ("imperial", Fraction(1)), "ft": ("imperial", Fraction(12)), "yd": ("imperial", Fraction(36)), "mi": ("imperial", Fraction(63360)),
    "lb": ("weight", Fraction(16)), "oz": ("weight", Fraction(1)),
}  # fmt: skip
_GENERIC = frozenset(
    ("unit", "total", "in total", "each", "altogether", "left", "exactly", "approximately", "about", "only")
)
_SINGLE = "mgshlLVWNJKA"
_TRAILING_TEXT = re.compile(r"(?:\\text\s*\{([^{}]*)\}|([A-Za-z]{2,}))\s*(?:\^\s*\{?\s*([23])\s*\}?)?\s*$")
_PLAIN = re.compile(
    r"^([-+]?\s*(?:\\dollar\s*)?[-+]?[\d.,/\s\x1f]*\d)\s*(?:([A-Za-z][A-Za-z' ./-]*[A-Za-z]|[A-Za-z]{2,})|(?<=\d)\s(["
    + _SINGLE
    + r"]))\s*(?:\^\s*\{?\s*([23])\s*\}?)?\.?$"
)
_NO_UNITS = frozenset("pi sqrt sin cos tan log ln and or i e x y n cup infinity oo frac am pm choose mod to in".split())
_CURRENCY = re.compile(
    r"^\s*([-+]?)\s*(?:\\dollar|\$|\\text\s*\{\s*(?:euro|pound|yen|dollars?)\s*\}|USD|US\$)\s*(?=[-+\d.(\\])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A formula's text and the unit that stood around it, "" for none."""

    body: str
    unit: str


def normal_unit(words: str, power: str = "") -> str:
    """Give one spelling for a unit: `square centimeters` and `cm^2` are the same.

    >>> normal_unit("square centimeters"), normal_unit("cm", "2")
    ('cm^2', 'cm^2')
    """
    words = words.strip(" .,'").replace("-", " ")
    for prefix, exponent in (("square ", "2"), ("sq ", "2"), ("sq. ", "2"), ("cubic ", "3")):
        if words.lower().startswith(prefix):
            words, power = words[len(prefix) :], exponent
    out = []
    for word in words.replace("/", " per ").split():
        plain = word if len(word) <= 2 else word.lower().rstrip(".")
        plain = plain[:-1] if len(plain) > 3 and plain.endswith("s") and not plain.endswith("ss") else plain
        out.append(_METRIC.get(plain, plain))
    unit = " ".join(out).replace(" per ", "/").replace("percent", "%")
    return "" if unit in _GENERIC else unit + (f"^{power}" if power else "")


def split_unit(text: str) -> Quantity:
    """Take the unit or currency off a cleaned answer. A text that is all words is no quantity and stays as it is."""
    unit = ""
    currency = _CURRENCY.match(text)
    if currency:
        mark = text[currency.start() : currency.end()]
        unit = next((name for name in ("euro", "pound", "yen") if name in mark), "$")
        text = currency[1] + text[currency.end() :]
    plain = _PLAIN.match(text)
    if plain:
        words = plain[2] or plain[3]
        if (
            not set(re.split(r"[ /.-]+", words.lower())) & _NO_UNITS
            or len(words.split()) > 1
            and words.split()[0].lower() not in _NO_UNITS
        ):
            unit = normal_unit(words, plain[4] or "") or unit
            text = plain[1]
    else:
        trailing = _TRAILING_TEXT.search(text)
        if (
            trailing
            and trailing.start()
            and trailing[1] is not None
            and re.search(r"[\d)}]\s*$|\\pi\s*$", text[: trailing.start()])
        ):
            words = trailing[1].strip()
            if (
                words
                and not re.fullmatch(r"\W*(?:and|or)?\W*", words, re.IGNORECASE)
                and not re.match(r"(?:and|or)\b", words)
            ):
                unit = normal_unit(words, trailing[3] or "") or unit
                text = text[: trailing.start()].rstrip(" ,")
    if text.endswith("\\dollar"):
        text, unit = text.removesuffix("\\dollar").rstrip(), unit or "$"
    return Quantity(body=text, unit=unit)


def conversion(answer: str, target: str) -> Fraction | None:
    """Give the factor that turns the answer's unit into the target's; 1 where they are one; None where they do not fit."""
    if answer == target or not answer or not target:
        return Fraction(1)
    one, _, power = answer.partition("^")
    other, _, other_power = target.partition("^")
    if power == other_power and one in _IN_BASE and other in _IN_BASE and _IN_BASE[one][0] == _IN_BASE[other][0]:
        return (_IN_BASE[one][1] / _IN_BASE[other][1]) ** int(power or 1)
    known = one in _IN_BASE or other in _IN_BASE or "/" in answer + target or power or other_power
    if not known and (set(answer.split()) <= set(target.split()) or set(target.split()) <= set(answer.split())):
        return Fraction(1)
    return None
