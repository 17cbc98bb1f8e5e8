r"""Equality by computer algebra, in a killable worker, for expressions our own reader does not know.

The caller's half is `prove_equal`; `prove_here` and `warm_up` run inside a worker of `razona.verify.pool`. LaTeX is
read by latex2sympy2_extended, the parser of math-verify. math-verify's own search and comparison are not used: they
search a text for its last expression, drop number bases, round floats and match equations by their last member. Here
only a written-down list of commands and characters is read at all, decimals are exact, and the answer is "equal"
only where sympy transforms one side into the other, never because two decimals are close.

Does NOT cover, and so calls unequal: text, units, percent, degrees, currency, subscripted numbers (bases), chains
and lists of relations, lists without brackets, `\pm`, logarithms whose base is not written against natural ones,
real odd roots of negative numbers, and every pair that sympy's `simplify` cannot decide. An integral, sum, product,
limit or derivative equals only another one: leaving the work undone is not an answer.
"""

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

from razona.verify.pool import JobResult, JobStatus, Pool

if TYPE_CHECKING:
    from sympy import Basic, Expr
    from sympy.core.relational import Relational

MAX_CHARACTERS = 2000
"""Of either side; a longer one is not sent."""
_DECIMAL_DIGITS = 15
_PROBES = ((3, 7), (11, 5))
"""Numerators and denominators of the first point where two sides are compared by value, to refuse quickly."""

_GREEK = (
    "alpha beta delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau "
    "phi varphi chi psi omega"
)
_FUNCTIONS = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp sqrt "
_OTHER = (
    "pi infty frac binom cdot times div int sum prod lim to le leq ge geq lt gt ne neq cup cap emptyset "
    "begin end matrix pmatrix bmatrix lfloor rfloor lceil rceil"
)
_COMMANDS = frozenset(f"{_GREEK} {_FUNCTIONS} {_OTHER}".split())
_COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{(?:matrix|pmatrix|bmatrix)\}")
_RELATION = re.compile(r"[<>=]|\\(?:leq?|geq?|lt|gt|neq?)(?![A-Za-z])")
_FORBIDDEN = (
    (re.compile(r"[^A-Za-z0-9+\-*/^_()\[\]{}|=<>!,;.&\\ ]"), "a character outside plain mathematics"),
    (re.compile(r"[0-9)\]]\s*\}?\s*_"), "a subscript under a number"),
    (re.compile(r"[0-9]\s*[eE]\s*[+-]?\s*[0-9]"), "a floating-point number"),
    (
        re.compile(r"(?<![_^0-9])[0-9]+\s+[.0-9]|_[0-9][0-9.]|\.[^0-9]|\.$|\.[0-9]*\."),
        "digits that can be read in two ways",
    ),
    (re.compile(r"/\s*[0-9.]+\s*[A-Za-z\\({]"), "a quotient that can be read in two ways"),
    (re.compile(r"(?<![A-Za-z\\])(?:I|or|no|in|is|if|to|of|an|by|at|on)(?![A-Za-z])"), "a word"),
)
_REWRITES = (
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\[dt]binom(?![A-Za-z])"), r"\\binom"),
    (re.compile(r"\\(?:left|right|displaystyle|limits)(?![A-Za-z])"), ""),
    (re.compile(r"\\(?:[,;:!]|quad(?![A-Za-z])|qquad(?![A-Za-z])| )|[\s~]+"), " "),
    (re.compile(r"\\(?:mathrm|operatorname|text)\s*\{\s*([de])\s*\}"), r" \1 "),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"(?<![A-Za-z\\])(" + "|".join([*_FUNCTIONS.split(), "pi"]) + r")(?![A-Za-z])"), r"\\\1"),
    (re.compile(r"\^\s*-\s*([0-9]+|[A-Za-z])"), r"^{-\1}"),
    (re.compile(r"(?<=[0-9]),(?=[0-9])"), ", "),  # the parser would read 1,234 as one number
    # The parser would read 2(1/2) as a mixed number.
    (re.compile(r"(?<![_0-9.])([0-9]+(?:\.[0-9]+)?)\s*([(\[])"), r"\1 \\cdot \2"),
)
_DECIMAL = re.compile(r"([0-9]*)\.([0-9]+)")


class UnreadableError(ValueError):
    """A side holds something that this reader does not take; the message says what."""


def prove_equal(left: str, right: str, pool: Pool, deadline_s: float) -> JobResult:
    r"""Ask a worker whether two LaTeX or plain expressions are equal, exactly.

    DONE has the value `{"equal": bool, "how": str}`; `how` names the step that proved or refused it. FAILED: a side
    is too long, or the parser stumbled. TIMED_OUT, OUT_OF_MEMORY and CRASHED are the expressions' doing; UNAVAILABLE
    is ours, and says so where the extra `math` is not installed.

    >>> with Pool() as pool:
    ...     prove_equal(r"\sin(2x)", r"2\sin x\cos x", pool, 2.0).value
    {'equal': True, 'how': 'simplify'}
    """
    for side in (left, right):
        if len(side) > MAX_CHARACTERS:
            reason = f"an expression of {len(side):,} characters; at most {MAX_CHARACTERS:,} are read"
            return JobResult(status=JobStatus.FAILED, reason=reason)
    if find_spec("latex2sympy2_extended") is None:
        reason = "symbolic comparison needs the optional packages: pip install 'razona[math]'"
        return JobResult(status=JobStatus.UNAVAILABLE, reason=reason)
    return pool.run("prove_equal", {"left": left, "right": right}, deadline_s=deadline_s)


def warm_up() -> None:
    """Import what `prove_here` needs and run it once, so that forks start with filled caches."""
    if find_spec("latex2sympy2_extended") is not None:
        prove_here(r"\frac{\sin(2x)}{\sqrt{2}}", r"\sqrt{2}\sin x\cos x")


def prove_here(left: str, right: str) -> dict[str, object]:
    """Compare two expressions in this very process: no deadline, no memory limit. Only for inside a worker."""
    try:
        readable = [_readable(side) for side in (left, right)]
        has_i = any("i" in _COMMAND.sub("", side) for side in readable)
        left_value, right_value = (_parse(side, has_i=has_i) for side in readable)
    except UnreadableError as error:
        return {"equal": False, "how": f"refused: {error}"}
    how = _proof(left_value, right_value)
    return {"equal": bool(how), "how": how or "not proven"}


def _readable(text: str) -> str:
    """Give a side in the LaTeX of the parser.

    Raises:
        UnreadableError: it holds anything outside the lists above.
    """
    text = text.strip().removeprefix("$").removesuffix("$").strip()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    for pattern, what in _FORBIDDEN:
        if match := pattern.search(text):
            raise UnreadableError(f"{what} at {text[match.start() :][:20]!r}")
    if len(_RELATION.findall(text)) > 1:
        raise UnreadableError("more than one relation")
    bare = _ENVIRONMENT.sub("", text)
    for command in _COMMAND.findall(bare):
        if command not in _COMMANDS and command not in ("{", "}", "\\"):
            raise UnreadableError(f"the command \\{command}")
    for word in _WORD.findall(bare):
        if len(word) > 2:
            raise UnreadableError(f"the word {word!r}")
    text = _DECIMAL.sub(lambda match: rf"(\frac{{{match[1]}{match[2]}}}{{1{'0' * len(match[2])}}})", text)
    for command, count in ((r"\frac", 2), (r"\binom", 2), (r"\sqrt", 1), ("^", 1), ("_", 1)):
        text = _brace_arguments(text, command, count)
    return text.strip()


def _closing(text: str, start: int) -> int:
    """Give the position of the bracket that closes the one at `start`."""
    pair = {"{": "}", "(": ")", "[": "]"}
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] == text[start]) - (text[position] == pair[text[start]])
        if depth == 0:
            return position
    raise UnreadableError(f"an open {text[start]!r}")


def _brace_arguments(text: str, command: str, count: int) -> str:
    r"""Write the arguments of every `command` in braces: `\frac12` and `\sqrt(2)` become `\frac{1}{2}`, `\sqrt{2}`."""
    start = 0
    while (start := text.find(command, start)) >= 0:
        start += len(command)
        if command == r"\sqrt" and text[start:].lstrip().startswith("["):
            start = _closing(text, text.index("[", start)) + 1
        position = start
        for _ in range(count):
            while text[position : position + 1] == " ":
                position += 1
            if position == len(text):
                raise UnreadableError(f"{command} without its argument")
            if text[position] == "{":
                position = _closing(text, position) + 1
                continue
            if text[position] == "(" and count == 1:
                end = _closing(text, position) + 1
                argument = text[position + 1 : end - 1]
            else:
                token = re.compile(r"\\[A-Za-z]+|[0-9]+|[A-Za-z]").match(text, position)
                if token is None or token[0] in (r"\frac", r"\sqrt", r"\binom"):
                    raise UnreadableError(f"{command} with an argument that needs braces")
                end = token.end() if command == "^" or token[0].startswith("\\") else position + 1
                argument = text[position:end]
            text = f"{text[:position]}{{{argument}}}{text[end:]}"
            position += len(argument) + 2
    return text


def _parse(text: str, *, has_i: bool) -> "Basic":
    """Give the sympy object of a readable side, unevaluated where the parser leaves it so.

    Variables are real, unless the letter i occurs on either side: then i is the imaginary unit, if no sum or
    product counts with it, and the others may be complex.
    """
    import sympy
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy  # pyright: ignore[reportMissingImports]

    value = latex2sympy(
        text,
        is_real=None if has_i else True,
        normalization_config=None,
        conversion_config=ConversionConfig(lowercase_symbols=False),
    )
    if isinstance(value, sympy.MatrixBase):
        value = sympy.ImmutableMatrix(value)
    if not isinstance(value, sympy.Basic):
        raise UnreadableError(f"what reads as {type(value).__name__}")
    if value.has(sympy.Float, sympy.nan, sympy.zoo) or value in (sympy.true, sympy.false, sympy.EmptySet):
        raise UnreadableError("no exact, defined value")
    if isinstance(value, sympy.FiniteSet) and r"\{" not in text:
        raise UnreadableError("a list without brackets: whether its order counts is not ours to say")
    if has_i and not value.has(sympy.Sum, sympy.Product):
        value = value.xreplace({symbol: sympy.I for symbol in value.free_symbols if str(symbol) == "i"})
    return value


def _proof(left: "Basic", right: "Basic") -> str:
    """Name the step that proves two objects equal; an empty text where none does."""
    from sympy import Expr, FiniteSet, Interval, MatrixBase, MatrixExpr, Set, Tuple
    from sympy.core.relational import Relational

    if isinstance(left, Relational) and isinstance(right, Relational):
        return _relation_proof(left, right)
    if isinstance(left, MatrixBase | MatrixExpr) and isinstance(right, MatrixBase | MatrixExpr):
        return _matrix_proof(left, right)
    if isinstance(left, Tuple) and isinstance(right, Tuple):
        return _all_proven(list(left.args), list(right.args))
    if isinstance(left, FiniteSet) and isinstance(right, FiniteSet):
        return _set_proof(list(left.args), list(right.args))
    if isinstance(left, Interval) and isinstance(right, Interval):
        if (left.left_open, left.right_open) != (right.left_open, right.right_open):
            return ""
        return _all_proven([left.start, left.end], [right.start, right.end])
    if isinstance(left, Set) and isinstance(right, Set):
        return "structure" if left.doit() == right.doit() else ""
    if isinstance(left, Expr) and isinstance(right, Expr):
        return _value_proof(left, right)
    return ""


def _all_proven(left: "list[Basic]", right: "list[Basic]") -> str:
    if len(left) != len(right):
        return ""
    proofs = [_proof(one, other) for one, other in zip(left, right, strict=True)]
    return "; ".join(sorted(set(proofs))) if all(proofs) else ""


def _set_proof(left: "list[Basic]", right: "list[Basic]") -> str:
    """Pair every element with an equal one. Greedy is enough: being equal is transitive."""
    if len(left) != len(right):
        return ""
    proofs: set[str] = set()
    remaining = list(right)
    for one in left:
        for other in remaining:
            if proof := _proof(one, other):
                proofs.add(proof)
                remaining.remove(other)
                break
        else:
            return ""
    return "; ".join(sorted(proofs))


def _matrix_proof(left: "Basic", right: "Basic") -> str:
    from sympy import MatrixBase

    left_value, right_value = left.doit(), right.doit()
    if not isinstance(left_value, MatrixBase) or not isinstance(right_value, MatrixBase):
        return ""
    if left_value.shape != right_value.shape:
        return ""
    return _all_proven(list(left_value.flat()), list(right_value.flat()))


def _relation_proof(left: "Relational", right: "Relational") -> str:
    """Bring both to `difference ? 0`; they are equal where the differences have a constant ratio of the right sign."""
    from sympy import Eq, Expr, Ge, Gt, Le, Lt, Ne, simplify

    families = {Eq: "=", Ne: "!=", Lt: "strict", Gt: "strict", Le: "weak", Ge: "weak"}
    differences: list[Expr] = []
    for one in (left, right):
        if not isinstance(one.lhs, Expr) or not isinstance(one.rhs, Expr):
            return ""
        differences.append((one.rhs - one.lhs if one.func in (Lt, Le) else one.lhs - one.rhs).doit())
    family = families[left.func]
    first, second = differences
    if family != families[right.func] or not first.free_symbols or first.free_symbols != second.free_symbols:
        return ""
    ratio = simplify(first / second)
    if not ratio.is_number or ratio.is_finite is not True or ratio.is_zero is not False:
        return ""
    return "constant ratio" if family in ("=", "!=") or ratio.is_positive else ""


def _value_proof(left: "Expr", right: "Expr") -> str:
    from sympy import Derivative, Integral, Limit, Product, Sum, nan, oo, simplify, zoo

    undone = (Integral, Sum, Product, Limit, Derivative)
    if left.has(*undone) != right.has(*undone):
        return ""
    left, right = left.doit(), right.doit()
    if left.has(nan, zoo, oo) or right.has(nan, zoo, oo):
        return "structure" if left == right and not left.has(nan, zoo) else ""
    if left == right:
        return "structure"
    if _differ_at_a_point(left, right):
        return ""
    difference = simplify(left - right)
    if difference.is_zero is True:
        return "simplify"
    # For numbers `equals` proves by the minimal polynomial, and says None where it cannot.
    return "minimal polynomial" if difference.is_algebraic and difference.equals(0) is True else ""


def _differ_at_a_point(left: "Expr", right: "Expr") -> bool:
    """Whether the two sides have clearly different values at one point: refuses at once what `simplify` chews on."""
    from sympy import Rational

    difference = left - right
    point = [
        (symbol, Rational(_PROBES[index % 2][0] + index, _PROBES[index % 2][1]))
        for index, symbol in enumerate(sorted(difference.free_symbols, key=str))
    ]
    try:
        gap, size = (abs(complex(one.subs(point).evalf(_DECIMAL_DIGITS))) for one in (difference, left))
    except (TypeError, ValueError, OverflowError):
        return False
    return gap > 1e-6 * max(size, 1e-6)
