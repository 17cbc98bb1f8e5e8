r"""Units and currencies around a number: `5 cm`, `15\text{ cm}^2`, `\$40`, `34 apples`, `125 miles per hour`."""

import re
from dataclasses import dataclass
from fractions import Fraction

_SPELLINGS = {
    "mm": ("millimeter", "millimetre"),
    "cm": ("centimeter", "centimetre"),
    "m": ("meter", "metre"),
    "km": ("kilometer", "kilometre"),
    "mg": ("milligram",),
    "g": ("gram",),
    "kg": ("kilogram",),
    "ml": ("milliliter",),
    "l": ("liter", "litre", "L"),
    "s": ("second", "sec"),
    "min": ("minute",),
    "h": ("hour", "hr"),
    "inch": ("inche", "in"),
    "ft": ("feet", "foot"),
    "yd": ("yard",),
    "mi": ("mile",),
    "lb": ("pound",),
    "oz": ("ounce",),
    "$": ("dollar", "usd", "buck"),
    "deg": ("degree",),
    "rad": ("radian",),
    "percent": ("percentage", "pct"),
    "km/h": ("kmh", "kph"),
    "mi/h": ("mph",),
}
"""Unit -> its other spellings, in the singular, as taking an s off the plural leaves it."""
_UNIT_OF = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings}
_IN_BASE = {
    "mm": ("length", Fraction(1, 1000)),
    "cm": ("length", Fraction(1, 100)),
    "m": ("length", Fraction(1)),
    "km": ("length", Fraction(1000)),
    "inch": ("imperial length", Fraction(1)),
    "ft": ("imperial length", Fraction(12)),
    "yd": ("imperial length", Fraction(36)),
    "mi": ("imperial length", Fraction(63360)),
    "mg": ("mass", Fraction(1, 1000)),
    "g": ("mass", Fraction(1)),
    "kg": ("mass", Fraction(1000)),
    "oz": ("imperial weight", Fraction(1)),
    "lb": ("imperial weight", Fraction(16)),
    "ml": ("volume", Fraction(1, 1000)),
    "l": ("volume", Fraction(1)),
    "s": ("time", Fraction(1)),
    "min": ("time", Fraction(60)),
    "h": ("time", Fraction(3600)),
    "day": ("time", Fraction(86400)),
    "week": ("time", Fraction(604800)),
    "cent": ("money", Fraction(1, 100)),
    "$": ("money", Fraction(1)),
}
"""Unit -> what it measures, and how many of that measure's base unit it is. Only within one measure is converted."""
NO_UNIT = (
    "is|are|was|isn't|not|never|no|false|wrong|incorrect|negative|minus|plus|times|over|divided|squared|cubed|factorial|mod"
    "|modulo|half|halves|thirds?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|hundredths?|thousandths?|if"
    "|unless|or|but|otherwise|except|perhaps|maybe|possibly|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    "|hundred|thousand|million|billion|trillion|at|choose|point|root|base|remainder|raised|multiplied|than"
    "|per cent|a half"
)
"""Words after a number that change what it says, as a pattern: no unit has one."""
_CHANGES = re.compile(rf"(?:^|[ /.-])(?:{NO_UNIT})(?:[ /.-]|$)|\d", re.IGNORECASE)
_GENERIC = frozenset(("unit", "total", "each", "altogether", "left", "exactly", "approximately", "about", "only"))
"""Words after a number that are no unit."""
_TRAILING_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}\s*(?:\^\s*\{?\s*([23])\s*\}?)?\s*$")
_PLAIN = re.compile(
    r"^([-+]?\s*(?:\\dollar\s*)?[-+]?[\d.,/\s\x1f]*\d)\s*"  # the number
    r"(?:([A-Za-z][A-Za-z' ./-]*[A-Za-z]|[A-Za-z]{2,})|(?<=\d)\s([mgshlLVWNJKA]))"  # words, or one letter after a space
    r"\s*(?:\^\s*\{?\s*([23])\s*\}?)?\.?$"
)
_PART = re.compile(
    r"(\d{1,9})\s*(?:\\text\s*\{\s*([A-Za-z]+)(?:\s*,?\s*(?:and)?)\s*\}|([A-Za-z]+))\s*(?:,\s*|and\s+|\\text\s*\{\s*and\s*\}\s*)?"
)
"""One number and unit of `3 hours and 20 minutes`."""
_ENDS_IN_VALUE = re.compile(r"[\d)}]\s*$|\\pi\s*$")
_JOINS = re.compile(r"(?i:\W*(?:and|or)?\W*)|(?:and|or)\b.*", re.DOTALL)
_NO_UNITS = frozenset({
    "pi", "sqrt", "sin", "cos", "tan", "log", "ln", "and", "or", "i", "e", "x", "y", "n", "cup", "infinity", "oo", 
    "frac", "am", "pm", "choose", "mod", "to", "in",
})  # fmt: skip
_SINGLE_SYMBOLS = frozenset("iexyn")
_CURRENCY = re.compile(
    r"^\s*([-+]?)\s*(?:\\dollar|\$|\\text\s*\{\s*(?:euro|pound|yen|rupee|dollars?)\s*\}|USD|US\$)\s*(?=[-+\d.(\\])"
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
    units = [_normal_word(word) for word in words.replace("/", " per ").split()]
    unit = " ".join(units).replace(" per ", "/").replace("percent", "%")
    return "" if unit in _GENERIC else unit + (f"^{power}" if power else "")


def _normal_word(word: str) -> str:
    plain = word if len(word) <= 2 else word.lower().rstrip(".")
    is_short_plural = plain[:-1] in _IN_BASE or plain[:-1] in _UNIT_OF
    if plain.endswith("s") and not plain.endswith("ss") and (len(plain) > 3 or (len(plain) == 3 and is_short_plural)):
        plain = plain[:-1]
    return _UNIT_OF.get(plain, plain)


def split_unit(text: str) -> Quantity:
    """Take the unit or currency off a cleaned answer. A text that is all words is no quantity and stays as it is."""
    compound = _compound(text)
    if compound is not None:
        return compound
    unit = ""
    currency = _CURRENCY.match(text)
    if currency:
        mark = text[currency.start() : currency.end()]
        unit = next((name for name in ("euro", "pound", "yen", "rupee") if name in mark), "$")
        text = currency[1] + text[currency.end() :]
    text, words, power = _split_words(text)
    if words:
        unit = normal_unit(words, power) or unit
    if text.endswith("\\dollar"):
        text, unit = text.removesuffix("\\dollar").rstrip(), unit or "$"
    return Quantity(body=text, unit=unit)


def _compound(text: str) -> Quantity | None:
    """Give `3 hours 20 minutes` as 200 minutes; None for anything else."""
    if not text[:1].isdigit() or not (text[-1:].isalpha() or text[-1:] == "}"):
        return None
    parts = list(_PART.finditer(text))
    if len(parts) < 2 or sum(len(part[0]) for part in parts) < len(text):
        return None
    units = [normal_unit(part[2] or part[3]) for part in parts]
    if any(unit not in _IN_BASE for unit in units) or len({_IN_BASE[unit][0] for unit in units}) > 1:
        return None
    sizes = [_IN_BASE[unit][1] for unit in units]
    total = sum((int(part[1]) * size for part, size in zip(parts, sizes, strict=True)), Fraction(0)) / sizes[-1]
    return Quantity(body=str(total), unit=units[-1]) if sizes == sorted(sizes, reverse=True) else None


def _split_words(text: str) -> tuple[str, str, str]:
    """Give a text without the unit at its end, the unit's words, and the power behind them; "" where there is none."""
    plain = _PLAIN.match(text)
    if plain:
        words = plain[2] or plain[3]
        if _CHANGES.search(words):
            return text, "", ""
        if words == "in":  # inches
            return plain[1], words, plain[4] or ""
        are_units = not set(re.split(r"[ /.-]+", words.lower())) & _NO_UNITS
        if are_units or (" " in words and words.split()[0].lower() not in _NO_UNITS):
            return plain[1], words, plain[4] or ""
        return text, "", ""
    trailing = _TRAILING_TEXT.search(text)
    if trailing and _ENDS_IN_VALUE.search(text[: trailing.start()]):
        words = trailing[1].strip()
        if not _JOINS.fullmatch(words) and not _CHANGES.search(words) and words not in _SINGLE_SYMBOLS:
            return text[: trailing.start()].rstrip(" ,"), words, trailing[2] or ""
    return text, "", ""


def conversion(answer: str, target: str) -> Fraction | None:
    """Give the factor that turns the answer's unit into the target's; None where they do not fit.

    A missing unit fits any. Unknown words fit where one has all words of the other, `gold coins` and `coins`.
    """
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
