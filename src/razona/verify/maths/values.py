"""Whether two expressions have the same value.

In this order: exact rational values; floats at random points, which refuse most pairs; many digits at random points,
which accept. Nothing here is rounded unless the recipe gives a tolerance, with one exception: a decimal of at least 12
significant digits stands for the value it is the rounding of, because that is how programs print.
"""

from fractions import Fraction

from razona.verify.maths.exact import bits_of, exact
from razona.verify.maths.numeric import NoValue, float_value
from razona.verify.maths.precise import agree, context, precise_value
from razona.verify.maths.syntax import NUMBERS, LimitError, Node, symbols_of
from razona.verify.settings import Settings

FLOAT_TOLERANCE = 1e-8
MIN_PRINTED_DIGITS = 12
"""Significant digits from which a decimal counts as the rounding of what it stands for."""
POINTS = (0, 1, 4, 5)
"""The fixed points of `numeric.draw` at which formulas with symbols are compared; 4 and 5 have negative ones."""
FIRST_NEGATIVE_POINT = 4
MIN_DIGITS = 50
"""Digits in which values are compared; those that stand in the two formulas are added."""
MAX_ADDED_DIGITS = 1_000
"""Of each formula: two that differ beyond these are taken for equal, `x` and `x + 10^{-3000}`."""


def equal_values(target: Node, answer: Node, settings: Settings) -> bool:
    """Say whether two expressions have the same value.

    Raises:
        LimitError: an exact value would have too many digits.
    """
    if target.kind == "matrix" or answer.kind == "matrix":
        return False
    expected, found = exact(target), exact(answer)
    if expected is not None and found is not None:
        return (
            expected == found
            or _is_close(expected, found, settings)
            or _is_printed_fraction(target, expected, answer, found)
            or _is_printed_fraction(answer, found, target, expected)
        )
    target, answer = _as_angles(target, answer)
    has_symbols = bool((symbols_of(target) | symbols_of(answer)) - NUMBERS)
    agrees_in_floats = _agrees_in_floats(target, answer, settings, POINTS if has_symbols else (0,))
    if agrees_in_floats is False:
        return False
    if settings.tolerance is not None and agrees_in_floats:
        return True
    if not has_symbols and (_is_printed_number(target, found) or _is_printed_number(answer, expected)):
        return True
    return _equal_precisely(target, answer, points=(0, 1) if has_symbols else (0,))


def _as_angles(target: Node, answer: Node) -> tuple[Node, Node]:
    r"""`90^\circ` against `90` compares numbers; against `\pi/2` it compares angles."""
    if target.kind == "degree" != answer.kind and "pi" not in symbols_of(answer):
        return target.parts[0], answer
    if answer.kind == "degree" != target.kind and "pi" not in symbols_of(target):
        return target, answer.parts[0]
    return target, answer


def _agrees_in_floats(target: Node, answer: Node, settings: Settings, points: tuple[int, ...]) -> bool | None:
    """Say whether the values agree at all points where both have one; None where there is no such point."""
    agrees: bool | None = None
    for point in points:
        try:
            left, right = float_value(target, point), float_value(answer, point)
        except NoValue:
            continue
        agrees = True
        imaginary = bool(complex(left).imag), bool(complex(right).imag)
        if point >= FIRST_NEGATIVE_POINT and any(imaginary):
            if not all(imaginary) and _has_bars(target) != _has_bars(answer):
                return False  # bars are written for negative numbers: `ln |x|` is not `ln x`
            continue  # roots of negative numbers: the branches are a convention
        distance = abs(left - right)
        is_within = settings.tolerance is not None and distance <= settings.tolerance * abs(left)
        if distance > FLOAT_TOLERANCE * max(1, abs(left), abs(right)) and not is_within:
            return False
    return agrees


def _has_bars(node: Node) -> bool:
    return (node.kind, node.value) == ("call", "abs") or any(map(_has_bars, node.parts))


def _equal_precisely(target: Node, answer: Node, points: tuple[int, ...]) -> bool:
    digits = digits_needed(target, answer)
    is_compared = False
    for point in points:
        try:
            left, right = precise_value(target, point, digits), precise_value(answer, point, digits)
        except NoValue:
            continue
        is_compared = True
        if agree(left, right, digits - 10):
            continue
        if min(abs(left), abs(right)) > 10 ** -(digits // 2):
            return False
        left, right = precise_value(target, point, 3 * digits), precise_value(answer, point, 3 * digits)
        if max(abs(left), abs(right)) > 10 ** -(2 * digits):
            return False
    return is_compared


def digits_needed(target: Node, answer: Node) -> int:
    """Give the number of digits in which two formulas are compared."""
    return MIN_DIGITS + _written_digits(target) + _written_digits(answer)


def _written_digits(node: Node) -> int:
    """Count the digits of the rational values in a formula, `10^{-900}` as 900."""
    try:
        value = exact(node)
    except LimitError:
        return MAX_ADDED_DIGITS
    if value is None:
        return min(MAX_ADDED_DIGITS, sum(_written_digits(part) for part in node.parts))
    return min(MAX_ADDED_DIGITS, bits_of(value) // 3 + 1)


def _is_close(expected: Fraction, found: Fraction, settings: Settings) -> bool:
    return settings.tolerance is not None and abs(expected - found) <= Fraction(settings.tolerance) * abs(expected)


def _decimal_places(value: Fraction) -> int:
    """Give the decimal places of a decimal fraction that is no integer, 0 for everything else."""
    denominator = value.denominator
    if denominator == 1 or denominator.bit_length() > 200:
        return 0
    places = 0
    for divisor in (10, 2, 5):
        while denominator % divisor == 0:
            denominator, places = denominator // divisor, places + 1
    return places if denominator == 1 else 0


def _printed_unit(value: Fraction) -> Fraction | None:
    """Give the unit of a decimal's last place if it has enough significant digits to be a printed value, else None."""
    places = _decimal_places(value)
    if not places or len(str(abs(int(value * 10**places)))) < MIN_PRINTED_DIGITS:
        return None
    return Fraction(1, 10**places)


def _is_printed_fraction(fraction: Node, value: Fraction, decimal: Node, printed: Fraction) -> bool:
    """Say whether one side is a written fraction with an endless decimal, and the other the rounding of it."""
    if decimal.kind != "num" or fraction.kind != "div" or value.denominator == 1 or _decimal_places(value):
        return False
    unit = _printed_unit(printed)
    return unit is not None and (abs(printed - value) <= unit or _is_float_of(value, printed, unit))


def _is_float_of(value: Fraction, printed: Fraction, unit: Fraction) -> bool:
    """Say whether a decimal is what a program prints of a value: `33.333333333333336` for 100/3."""
    return abs(printed - value) <= 10 * unit and Fraction(repr(float(value))) == printed


def _is_printed_number(irrational: Node, printed: Fraction | None) -> bool:
    """Say whether a long decimal is the rounding of an irrational number."""
    unit = None if printed is None else _printed_unit(printed)
    if printed is None or unit is None:
        return False
    digits = len(str(unit.denominator)) + 40
    try:
        value = precise_value(irrational, 0, digits)
    except NoValue:
        return False
    mp = context()
    with mp.workdps(digits):
        return abs(value - printed.numerator / mp.mpf(printed.denominator)) <= abs(1 / mp.mpf(unit.denominator))
