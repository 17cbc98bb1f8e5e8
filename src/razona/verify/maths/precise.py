"""The value of a formula at fixed random points, in many digits: enough to accept.

Two formulas that agree to 40 digits at several points are taken for equal (Schwartz and Zippel's argument for
polynomials; for constants there is no such theorem, but a completion cannot come that close to a target without writing
that many digits, and the precision grows with the digits that stand in it).
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, cast

from razona.verify.maths.numeric import UNEVALUATED_CALLS, NoValue, draw, is_odd_root, scramble
from razona.verify.maths.syntax import Node, fraction_of

Precise = complex
"""A number of mpmath, which has no types of its own: it calculates as a complex number does."""
MAX_EXPONENT = 1e6
"""Natural logarithm of a power, and argument of an exponential; beyond it a formula is not evaluated."""
MAX_FACTORIAL = 100_000
MAX_FACTORIAL_DIGITS = 200
"""A factorial of no whole number takes a tenth of a second in a thousand digits."""


class Context(Protocol):
    """What is used of a context of mpmath."""

    dps: int
    pi: Precise
    e: Precise
    j: Precise

    def workdps(self, digits: int) -> AbstractContextManager[None]:
        """Set the precision for a block."""
        ...

    def re(self, value: Precise) -> float:
        """Give the real part."""
        ...

    def im(self, value: Precise) -> float:
        """Give the imaginary part."""
        ...

    def __getattr__(self, name: str) -> Callable[..., Precise]: ...


_of_this_thread = threading.local()


def context() -> Context:
    """Give this thread's context: the precision of `mpmath.mp` is shared, and one thread would change another's."""
    found: Context | None = getattr(_of_this_thread, "context", None)
    if found is None:
        import mpmath

        found = _of_this_thread.context = cast(Context, mpmath.MPContext())
    return found


def precise_value(node: Node, point: int, digits: int) -> Precise:
    """Evaluate at one of the fixed points of `numeric.draw` with `digits` decimal digits.

    Raises:
        NoValue: it has none there, or it is beyond `MAX_EXPONENT` or `MAX_FACTORIAL`.
    """
    from mpmath.libmp import NoConvergence

    mp = context()
    with mp.workdps(digits):
        try:
            value = _precise(node, point, mp)
        except (ZeroDivisionError, ValueError, OverflowError, TypeError, NoConvergence) as error:
            raise NoValue(str(error)) from None
        if not mp.isfinite(value):
            raise NoValue("not finite")
        return value


def agree(left: Precise, right: Precise, digits: int) -> bool:
    """Say whether two values are equal in their first `digits` digits."""
    mp = context()
    with mp.workdps(digits + 20):
        return abs(left - right) <= max(abs(left), abs(right)) * abs(mp.mpf(10) ** -digits)


def _precise(node: Node, point: int, mp: Context) -> Precise:
    kind = node.kind
    if kind == "num":
        value = fraction_of(node)
        return mp.mpf(value.numerator) / value.denominator
    if kind == "symbol":
        return _symbol(str(node.value), point, mp)
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
        return _power(node.parts[1], parts[0], parts[1], mp)
    if kind == "percent":
        return parts[0] / 100
    if kind == "degree":
        return parts[0] * mp.pi / 180
    if kind == "call":
        return _call(str(node.value), parts, mp)
    if kind == "opaque":
        return scramble(str(node.value), parts, mp.sin)
    raise NoValue(kind)


def _symbol(name: str, point: int, mp: Context) -> Precise:
    if name == "infinity":
        raise NoValue("infinity")
    constants = {"pi": mp.pi, "e": mp.e, "i": mp.j}
    return +constants[name] if name in constants else mp.mpf(draw(name, point))


def _power(power: Node, base: Precise, exponent: Precise, mp: Context) -> Precise:
    if not mp.im(base) and mp.re(base) < 0 and is_odd_root(power):
        top, bottom = (int(fraction_of(part)) for part in power.parts)
        return (-mp.root(-base, bottom)) ** top
    if base and abs(mp.log(abs(base)) * exponent) > MAX_EXPONENT:
        raise NoValue("a power is too large")
    return mp.power(base, exponent)


def _root(base: Precise, degree: Precise, mp: Context) -> Precise:
    """The real root of a negative number where the degree is odd, as school writes it."""
    if not mp.im(base) and mp.re(base) < 0 and degree == int(mp.re(degree)) and int(mp.re(degree)) % 2:
        return -mp.root(-base, int(mp.re(degree)))
    return mp.power(base, 1 / degree)


def _call(name: str, parts: list[Precise], mp: Context) -> Precise:
    first = parts[0]
    if name in ("exp", "sinh", "cosh", "tanh") and abs(first) > MAX_EXPONENT:
        raise NoValue("an exponential is too large")
    if name == "root":
        return _root(first, parts[1], mp)
    if name in ("factorial", "binomial"):
        if mp.dps > MAX_FACTORIAL_DIGITS:
            raise NoValue("a factorial in too many digits")
        if abs(first) > MAX_FACTORIAL:
            raise NoValue("a factorial is too large")
        return mp.factorial(*parts) if name == "factorial" else mp.binomial(*parts)
    if name in UNEVALUATED_CALLS:
        return scramble(name, parts, mp.sin)
    if name in ("log", "lg"):
        return mp.log(first, parts[1] if len(parts) > 1 else 10)
    if name == "prime":
        return first * mp.mpf(1.7) + mp.mpf(0.31)
    if name == "arccot":
        return mp.pi / 2 - mp.atan(first)
    if name not in _NAMES:
        raise NoValue(f"the function {name} is not evaluated")
    return getattr(mp, _NAMES[name])(*parts)


_NAMES = {
    **{name: name for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "exp", "ln", "sqrt")},
    **{"asin": "asin", "acos": "acos", "atan": "atan", "arcsin": "asin", "arccos": "acos", "arctan": "atan"},
    **{"abs": "fabs", "arg": "arg", "Re": "re", "Im": "im"},
}
"""Function -> its name in mpmath."""
