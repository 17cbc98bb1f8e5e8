"""The value of a formula at fixed random points, in floats: quick, and enough to refuse. `precise` accepts."""

import cmath
import math
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b

from razona.verify.maths.syntax import Node, fraction_of, is_whole

MAX_FLOAT = 1e300
"""A larger value is not compared: the distance of two may be beyond all floats."""
MAX_FLOAT_EXPONENT = 5_000
MAX_FLOAT_FACTORIAL = 150
UNEVALUATED_CALLS = frozenset(("max", "min", "gcd", "lcm", "det"))
"""Functions of several arguments: only ever equal to themselves with equal arguments."""


class NoValue(ArithmeticError):
    """The formula has no value at this point: a pole, 0/0, a part that is no number."""


@lru_cache(maxsize=4_096)
def draw(name: str, point: int) -> float:
    """Give a symbol's value at one of the fixed points.

    Points 0 to 3 are positive, between 0.35 and 2.4; 4 is negative, 5 either.
    """
    word = int.from_bytes(blake2b(f"{name}/{point}".encode(errors="replace"), digest_size=8).digest(), "big")
    value = 0.35 + (word >> 12) / 2**52 * 2.05
    return -value if point == 4 or (point == 5 and word & 1) else value


def is_odd_root(power: Node) -> bool:
    """Say whether an exponent is a fraction of whole numbers with an odd denominator, `2/3`."""
    return power.kind == "div" and all(map(is_whole, power.parts)) and int(fraction_of(power.parts[1])) % 2 == 1


def scramble(name: str, parts: list[complex], sine: Callable[[complex], complex]) -> complex:
    """Give a smooth function that means nothing, fixed by its name.

    So what is not evaluated still differs where its parts do.
    """
    total: complex = draw(name, 0)
    for index, part in enumerate(parts):
        total = total + part * draw(f"{name}/{index}", 1)
    return sine(total) + total / 7


def float_value(node: Node, point: int) -> complex:
    """Evaluate at one of the fixed points, in floats.

    Raises:
        NoValue: it has none there, or none that a float holds.
    """
    try:
        value = _float(node, point)
        size = abs(value)
    except (ZeroDivisionError, ValueError, OverflowError, TypeError) as error:
        raise NoValue(str(error)) from None
    if not size <= MAX_FLOAT:
        raise NoValue("too large, or no number")
    return value


def _float(node: Node, point: int) -> complex:
    kind = node.kind
    if kind == "num":
        return float(fraction_of(node))
    if kind == "symbol":
        name = str(node.value)
        if name == "infinity":
            raise NoValue("infinity")
        return _CONSTANTS[name] if name in _CONSTANTS else draw(name, point)
    parts = [_float(part, point) for part in node.parts]
    if kind == "add":
        return sum(parts)
    if kind == "mul":
        return parts[0] * parts[1]
    if kind in ("div", "ratio"):
        value = parts[0]
        for part in parts[1:]:
            value = value / part
        return value
    if kind == "neg":
        return -parts[0]
    if kind == "pow":
        return _float_power(node.parts[1], *parts)
    if kind == "percent":
        return parts[0] / 100
    if kind == "degree":
        return parts[0] * math.pi / 180
    if kind == "call":
        return _float_call(str(node.value), parts)
    if kind == "opaque":
        return scramble(str(node.value), parts, cmath.sin)
    raise NoValue(kind)


def _float_power(power: Node, base: complex, exponent: complex) -> complex:
    if complex(base).imag == 0 and complex(base).real < 0 and is_odd_root(power):
        top, bottom = map(fraction_of, power.parts)
        return _root(base, float(bottom)) ** float(top)
    if abs(exponent) > MAX_FLOAT_EXPONENT:
        raise NoValue("a large power")
    return base**exponent


def _root(base: complex, degree: complex) -> complex:
    """The real root of a negative number where the degree is odd, as school writes it."""
    base, degree = complex(base), complex(degree)
    if base.imag == 0 and base.real < 0 and degree == int(degree.real) and int(degree.real) % 2:
        return -((-base.real) ** (1 / degree.real))
    return base ** (1 / degree)


def _float_call(name: str, parts: list[complex]) -> complex:
    if name == "root":
        return _root(parts[0], parts[1])
    if name in ("factorial", "binomial"):
        reals = [complex(part).real for part in parts]
        if any(value < 0 or value > MAX_FLOAT_FACTORIAL for value in reals):
            raise NoValue(name)
        gamma = [math.gamma(value + 1) for value in reals]
        return gamma[0] if name == "factorial" else gamma[0] / gamma[1] / math.gamma(reals[0] - reals[1] + 1)
    if name in UNEVALUATED_CALLS:
        return scramble(name, parts, cmath.sin)
    call = _CALLS.get(name)
    if call is None:  # `\sec^{-1}`
        raise NoValue(f"the function {name} is not evaluated")
    return call(*parts)


def _logarithm(x: complex, base: complex = 10) -> complex:
    return cmath.log(x) / cmath.log(base)


def _natural_logarithm(x: complex, base: complex | None = None) -> complex:
    return cmath.log(x) if base is None else cmath.log(x) / cmath.log(base)


def _absolute(x: complex) -> complex:
    return abs(x)


_CONSTANTS: dict[str, complex] = {"pi": math.pi, "e": math.e, "i": 1j}
_CALLS: dict[str, Callable[..., complex]] = {
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "cot": lambda x: 1 / cmath.tan(x),
    "sec": lambda x: 1 / cmath.cos(x),
    "csc": lambda x: 1 / cmath.sin(x),
    "sinh": cmath.sinh,
    "cosh": cmath.cosh,
    "tanh": cmath.tanh,
    "arcsin": cmath.asin,
    "asin": cmath.asin,
    "arccos": cmath.acos,
    "acos": cmath.acos,
    "arctan": cmath.atan,
    "atan": cmath.atan,
    "arccot": lambda x: cmath.pi / 2 - cmath.atan(x),
    "ln": _natural_logarithm,
    "log": _logarithm,
    "lg": cmath.log10,
    "exp": cmath.exp,
    "sqrt": cmath.sqrt,
    "abs": _absolute,
    "Re": lambda x: complex(x).real,
    "Im": lambda x: complex(x).imag,
    "arg": cmath.phase,
    "prime": lambda x: 1.7 * x + 0.31,  # means nothing, like `scramble`: f' is not f
}
