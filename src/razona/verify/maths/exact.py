"""The exact value of a formula of whole numbers, where it has a rational one."""

from collections.abc import Callable
from fractions import Fraction
from math import comb, factorial, isqrt

from razona.verify.maths.syntax import LimitError, Node, fraction_of

MAX_BITS = 40_000
"""Of numerator and denominator of any exact value; estimated before the arithmetic, never found out by doing it."""
MAX_ROOT_BITS = 2_000
"""Of a number whose square root is looked for."""
MAX_FACTORIAL = 3_000


def bits_of(value: Fraction) -> int:
    """Give the length of the longer of numerator and denominator."""
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def exact(node: Node) -> Fraction | None:
    """Give the rational value of a formula without symbols, None where it has none or it is not found here.

    Raises:
        LimitError: an intermediate value would have more than `MAX_BITS` bits.
    """
    if node.kind == "num":
        return fraction_of(node)
    rule = _RULES.get(node.kind)
    if rule is None:
        return None
    values: list[Fraction] = []
    for part in node.parts:
        value = exact(part)
        if value is None:
            return None
        values.append(value)
    result = rule(node, values)
    if result is not None and bits_of(result) > MAX_BITS:
        raise LimitError("a value of the answer has too many digits")
    return result


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        return _rational_root(base, exponent)
    power = int(exponent)
    if base in (0, 1, -1):
        if base == 0 and power <= 0:
            return None
        return base ** (power % 2 + 2)
    if abs(power) > MAX_BITS or abs(power) * bits_of(base) > MAX_BITS:
        raise LimitError("a power of the answer has too many digits")
    return base**power


def _rational_root(base: Fraction, exponent: Fraction) -> Fraction | None:
    """Give `4 ** (1/2)` and its like where the result is rational; square roots only."""
    if exponent.denominator != 2 or base < 0 or bits_of(base) > MAX_ROOT_BITS:
        return None
    top, bottom = isqrt(base.numerator), isqrt(base.denominator)
    if top * top != base.numerator or bottom * bottom != base.denominator:
        return None
    return _power(Fraction(top, bottom), Fraction(exponent.numerator))


def _call(node: Node, values: list[Fraction]) -> Fraction | None:
    name, first = node.value, values[0]
    if name == "abs":
        return abs(first)
    if name == "sqrt":
        return _rational_root(first, Fraction(1, 2))
    if name in ("factorial", "binomial") and all(value.denominator == 1 and value >= 0 for value in values):
        if first > MAX_FACTORIAL:
            raise LimitError(f"a factorial of the answer is beyond {MAX_FACTORIAL}!")
        return Fraction(factorial(int(first)) if name == "factorial" else comb(int(first), int(values[1])))
    return None


def _product(node: Node, values: list[Fraction]) -> Fraction | None:
    if bits_of(values[0]) + bits_of(values[1]) > MAX_BITS:
        raise LimitError("a product of the answer has too many digits")
    return values[0] * values[1]


_RULES: dict[str, Callable[[Node, list[Fraction]], Fraction | None]] = {
    "add": lambda node, values: sum(values, Fraction(0)),
    "neg": lambda node, values: -values[0],
    "mul": _product,
    "div": lambda node, values: values[0] / values[1] if values[1] else None,
    "pow": lambda node, values: _power(values[0], values[1]),
    "percent": lambda node, values: values[0] / 100,
    "call": _call,
}
