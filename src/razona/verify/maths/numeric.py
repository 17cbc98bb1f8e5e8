"""The value of a formula at fixed random points: in floats to refuse quickly, in many digits to accept.

Two formulas that agree to 40 digits at several points are taken for equal (Schwartz and Zippel's argument for polynomials; for
constants there is no such theorem, but a completion cannot come that close to a target without writing that many digits, and the
precision grows with the digits that stand in it).
"""

import cmath
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b

from razona.verify.maths.syntax import LimitError, Node

MAX_EXPONENT = 1e6
"""Decimal exponent of a value; beyond it a formula is not evaluated."""
Point = Mapping[str, object]


class NoValue(ArithmeticError):
    """The formula has no value at this point: a pole, 0/0, a part that is no number."""


@lru_cache(maxsize=4_096)
def draw(name: str, point: int) -> float:
    """Give a symbol's value at one of the fixed points: 0 to 3 are positive, between 0.35 and 2.4; 4 is negative, 5 either."""
    word = int.from_bytes(blake2b(f"{name}/{point}".encode(errors="replace"), digest_size=8).digest(), "big")
    value = 0.35 + (word >> 12) / 2**52 * 2.05
    return -value if point == 4 or (point == 5 and word & 1) else value


_FLOAT_CALLS: dict[str, Callable[..., complex]] = {
    "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "sinh": cmath.sinh, "cosh": cmath.cosh, "tanh": cmath.tanh,
    "cot": lambda x: 1 / cmath.tan(x), "sec": lambda x: 1 / cmath.cos(x), "csc": lambda x: 1 / cmath.sin(x),
    "arcsin": cmath.asin, "arccos": cmath.acos, "arctan": cmath.atan, "asin": cmath.asin, "acos": cmath.acos, "atan": cmath.atan,
    "arccot": lambda x: cmath.pi / 2 - cmath.atan(x),
    "ln": lambda x, base=None: cmath.log(x) if base is None else cmath.log(x) / cmath.log(base),
    "log": lambda x, base=10: cmath.log(x) / cmath.log(base), "lg": lambda x: cmath.log10(x),
    "exp": cmath.exp, "sqrt": cmath.sqrt, "abs": abs, "prime": lambda x: 1.7 * x + 0.31,
    "Re": lambda x: complex(x).real, "Im": lambda x: complex(x).imag, "arg": lambda x: cmath.phase(x),
}  # fmt: skip


def _root(base: complex, degree: complex) -> complex:
    """The real root of a negative number where the degree is odd, as school writes it."""
    if (
        complex(base).imag == 0
        and complex(base).real < 0
        and degree == int(complex(degree).real)
        and int(complex(degree).real) % 2
    ):
        return -((-complex(base).real) ** (1 / complex(degree).real))
    return complex(base) ** (1 / complex(degree))


def float_value(node: Node, point: int) -> complex:
    """Evaluate at one of the fixed points, in floats.

    Raises:
        NoValue: it has none there, or none that a float holds.
    """
    try:
        value = _float(node, point)
    except (ZeroDivisionError, ValueError, OverflowError, TypeError) as error:
        raise NoValue(str(error)) from None
    if not cmath.isfinite(value):
        raise NoValue("not finite")
    return value


def _float(node: Node, point: int) -> complex:
    kind = node.kind
    if kind == "num":
        return float(node.value)  # type: ignore[arg-type]
    if kind == "symbol":
        name = str(node.value)
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        return draw(name, point)
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
        return _float_power(node, parts)
    if kind == "percent":
        return parts[0] / 100
    if kind == "degree":
        return parts[0] * math.pi / 180
    if kind == "call":
        return _float_call(node, parts)
    if kind == "opaque":
        return _scramble(str(node.value), parts, cmath.sin)
    raise NoValue(kind)


def _float_power(node: Node, parts: list[complex]) -> complex:
    base, exponent = parts
    power = node.parts[1]
    if complex(base).imag == 0 and complex(base).real < 0 and power.kind == "div" and _is_odd_root(power):
        return _root(base, float(power.parts[1].value)) ** float(power.parts[0].value)  # type: ignore[arg-type]
    if abs(exponent) > 5_000:
        raise NoValue("a large power")
    return base**exponent


def _is_odd_root(power: Node) -> bool:
    top, bottom = power.parts
    return (
        all(isinstance(part.value, Fraction) and part.value.denominator == 1 for part in (top, bottom))
        and int(bottom.value) % 2 == 1
    )  # type: ignore[call-overload]


def _float_call(node: Node, parts: list[complex]) -> complex:
    name = str(node.value)
    if name == "root":
        return _root(parts[0], parts[1])
    if name in ("factorial", "binomial"):
        reals = [complex(part).real for part in parts]
        if any(value < 0 or value > 150 for value in reals):
            raise NoValue(name)
        gamma = [math.gamma(value + 1) for value in reals]
        return gamma[0] if name == "factorial" else gamma[0] / gamma[1] / math.gamma(reals[0] - reals[1] + 1)
    if name in ("max", "min", "gcd", "lcm", "det"):
        return _scramble(name, parts, cmath.sin)
    return _FLOAT_CALLS[name](*parts)


def _scramble(name: str, parts: list[complex], sine: Callable[[complex], complex]) -> complex:
    """A smooth function that means nothing, fixed by its name: what is not evaluated still differs where its parts do."""
    total: complex = draw(name, 0)
    for index, part in enumerate(parts):
        total = total + part * draw(f"{name}/{index}", 1)
    return sine(total) + total / 7


_CONSTANTS: dict[str, complex] = {"pi": math.pi, "e": math.e, "i": 1j, "infinity": math.inf}


def precise_value(node: Node, point: int, digits: int) -> object:
    """Evaluate at one of the fixed points with `digits` decimal digits, as an mpmath number.

    Raises:
        NoValue: it has none there.
        LimitError: it is beyond 10 to the power of `MAX_EXPONENT`.
    """
    import mpmath

    with mpmath.workdps(digits):
        try:
            value = _precise(node, point, mpmath.mp)
        except (ZeroDivisionError, ValueError, OverflowError, TypeError, KeyError, mpmath.libmp.NoConvergence) as error:
            raise NoValue(str(error)) from None
        if not mpmath.isfinite(value):
            raise NoValue("not finite")
        return value


def _precise(node: Node, point: int, mp) -> object:  # noqa: ANN001 - mpmath has no types
    kind = node.kind
    if kind == "num":
        fraction = node.value
        return mp.mpf(fraction.numerator) / fraction.denominator  # type: ignore[attr-defined]
    if kind == "symbol":
        name = str(node.value)
        constants = {"pi": mp.pi, "e": mp.e, "i": mp.j, "infinity": mp.inf}
        return +constants[name] if name in constants else mp.mpf(draw(name, point))
    parts = [_precise(part, point, mp) for part in node.parts]
    if kind == "add":
        return mp.fsum(parts)
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
        return _precise_power(node, parts, mp)
    if kind == "percent":
        return parts[0] / 100
    if kind == "degree":
        return parts[0] * mp.pi / 180
    if kind == "call":
        return _precise_call(str(node.value), parts, mp)
    if kind == "opaque":
        return _scramble(str(node.value), parts, mp.sin)
    raise NoValue(kind)


def _precise_power(node: Node, parts: list, mp) -> object:  # noqa: ANN001
    base, exponent = parts
    power = node.parts[1]
    if not mp.im(base) and mp.re(base) < 0 and power.kind == "div" and _is_odd_root(power):
        return (-mp.root(-base, int(power.parts[1].value))) ** int(power.parts[0].value)  # type: ignore[arg-type]
    if base and abs(mp.log(abs(base)) * exponent) > MAX_EXPONENT:
        raise LimitError("a power of the answer is too large")
    return mp.power(base, exponent)


def _precise_call(name: str, parts: list, mp) -> object:  # noqa: ANN001
    if name in ("exp", "sinh", "cosh", "tanh") and abs(parts[0]) > MAX_EXPONENT:
        raise LimitError("an exponential of the answer is too large")
    if name == "root":
        if (
            not mp.im(parts[0])
            and mp.re(parts[0]) < 0
            and parts[1] == int(mp.re(parts[1]))
            and int(mp.re(parts[1])) % 2
        ):
            return -mp.root(-parts[0], int(mp.re(parts[1])))
        return mp.power(parts[0], 1 / parts[1])
    if name in ("factorial", "binomial"):
        if abs(parts[0]) > 100_000:
            raise LimitError("a factorial of the answer is too large")
        return mp.factorial(parts[0]) if name == "factorial" else mp.binomial(*parts)
    if name in ("max", "min", "gcd", "lcm", "det"):
        return _scramble(name, parts, mp.sin)
    if name in ("log", "lg"):
        return mp.log(parts[0], parts[1] if len(parts) > 1 else 10)
    if name == "prime":
        return parts[0] * mp.mpf(1.7) + mp.mpf(0.31)
    same = {
        "arcsin": "asin",
        "arccos": "acos",
        "arctan": "atan",
        "arccot": "acot",
        "abs": "fabs",
        "Re": "re",
        "Im": "im",
    }
    if name == "arccot":
        return mp.pi / 2 - mp.atan(parts[0])
    return getattr(mp, same.get(name, name))(*parts)
