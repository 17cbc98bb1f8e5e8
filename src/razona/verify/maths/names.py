"""The commands of LaTeX that the parser tells apart. Any other command is a symbol."""

RELATIONS = frozenset({
    "=", "<", ">", r"\le", r"\ge", r"\ne", r"\in", r"\approx", r"\equiv", r"\sim", r"\notin", r"\subset", r"\to",
    r"\iff", r"\Leftrightarrow", r"\Rightarrow", r"\implies", r"\mapsto",
})  # fmt: skip
"""Signs between two sides. What they mean is known to `relations` and `sets`; most equal only themselves."""
SEPARATORS = frozenset({",", ";", r"\and", r"\or", r"\wedge", r"\vee", r"\lor", r"\cr"})
"""Stand between the entries of a list."""
JOINERS = frozenset({
    r"\and", r"\or", r"\wedge", r"\vee", r"\lor", r"\land", r"\cr", r"\hline", r"\circ", r"\pm", r"\mp", r"\cup",
    r"\cap", r"\union", r"\setminus", r"\backslash", r"\text", r"\rbrace", r"\quad", r"\mod", r"\pmod",
})  # fmt: skip
"""No factor begins with one of these, nor with a relation."""
SET_OPERATIONS = {
    r"\cup": "union",
    r"\union": "union",
    r"\cap": "intersection",
    r"\setminus": "minus_set",
    r"\backslash": "minus_set",
}
"""Command -> the kind of its node."""
CONSTANTS = {
    r"\pi": "pi",
    r"\infty": "infinity",
    r"\inf": "infinity",
    r"\infinity": "infinity",
    r"\oo": "infinity",
}
"""Command -> the name of its symbol."""
FUNCTIONS = frozenset({
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "arccot", "asin", "acos", "atan", "sinh",
    "cosh", "tanh", "log", "ln", "lg", "exp", "abs", "det", "max", "min", "gcd", "lcm", "Re", "Im", "arg",
})  # fmt: skip
"""Take one argument, with or without brackets."""
OPAQUE = frozenset({r"\sum", r"\prod", r"\int", r"\iint", r"\oint", r"\lim", r"\bigcup", r"\bigcap"})
"""Are kept with their bounds and never evaluated."""
DECORATIONS = frozenset({
    r"\vec", r"\hat", r"\bar", r"\tilde", r"\widehat", r"\overrightarrow", r"\underline", r"\mathbb", r"\overline",
    r"\overarc", r"\widetilde", r"\boxed", r"\fbox", r"\mathop", r"\operatorname",
})  # fmt: skip
"""Are dropped from around their argument."""
RENAMING = {
    r"\bar": "bar", r"\overline": "bar", r"\hat": "hat", r"\widehat": "hat", r"\tilde": "tilde", r"\widetilde": "tilde",
    r"\vec": "vec", r"\overrightarrow": "vec",
}  # fmt: skip
"""Those that make another name of what they stand over -> the mark."""
MATRICES = frozenset(("matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "array", "smallmatrix", "cases", "aligned"))
"""Environments of rows and columns."""
CLOSERS = {"(": ")", "[": "]", r"\{": r"\}", "{": "}"}
FUNCTION_LETTERS = frozenset("fghpqwrFGHPQWRT")
"""`f(x)` with one of these is the function's value, and a product with any other letter."""
