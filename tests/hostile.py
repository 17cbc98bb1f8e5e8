"""Completions made to hang, crash, exhaust or take over a verifier.

The short ones are stored in `data/verify/hostile.jsonl`; those too long to store are made here. None of them
is right: where a text would otherwise amount to its target, an 8 stands in it instead of the 7 (or one element
of two long collections differs). The exceptions say `may_be_correct`: a target that is itself hostile, met by
its own text, may be accepted or refused, only not late.

`python tests/hostile.py` gives every one to `razona.verify.check` in this process and prints, as JSON, which
were accepted, which were late, which was slowest, and how much memory this process and its workers ever held.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARKER = "@MARKER@"
"""Stands for the path that a code attack would create; `corpus` fills it in."""
STORED = Path(__file__).parent / "data" / "verify" / "hostile.jsonl"
DEADLINE_S = 1.0
NASTIEST = (
    "exponent 1E999999999",
    "tower 9^9^9^9",
    "factorial of 10^8",
    "binomial",
    "sum of powers",
    "integral of a tower",
    "identity matrix",
    "four variables, one sign",
    "sum of 13 sines",
    "a million digits",
    "1,000 parentheses",
    "5,000 fractions above fractions",
    "20,000 boxes",
    "50,000 opening tags",
    "50,000 closing tags",
    "50,000 opened displays",
    "a set of 10,000 against its neighbour",
    "a determinant of 9 rows",
    "30 plus-minus signs",
    "20,000 opened boxes",
)
"""Names of the 20 that hung, or cost most in, the verifiers of others and naive code of our own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """One hostile completion and what it is checked against."""

    name: str
    completion: str
    target: str = "7"
    may_be_correct: bool = False


def box(name: str, answer: str, target: str = "7") -> Hostile:
    return Hostile(name=name, completion=rf"\boxed{{{answer}}}", target=target)


def text(name: str, completion: str, target: str = "7") -> Hostile:
    return Hostile(name=name, completion=completion, target=target)


def stored() -> Iterator[Hostile]:
    for line in STORED.read_text(encoding="utf-8").splitlines():
        yield Hostile(**json.loads(line))


def long_numbers() -> Iterator[Hostile]:
    yield box("a million digits", "9" * 1_000_000)
    yield text("a million digits in tags", f"<SOLUTION>{'9' * 1_000_000}</SOLUTION>")
    yield text("a million digits after words", f"The answer is {'9' * 1_000_000}")
    yield box("a million zeros before an 8", "0" * 1_000_000 + "8")
    yield box("a million decimals", "7." + "0" * 1_000_000 + "8")
    yield box("a million digits below", "1/" + "3" * 1_000_000)
    yield box("a fraction of 100,000 digits", rf"\frac{{{'9' * 100_000}}}{{{'7' * 100_000}}}")
    yield box("4,400 digits", "9" * 4_400)  # int() refuses more than 4,300
    yield box("an exponent of 1,000 digits", "1e" + "9" * 1_000)
    yield box("a power of 1,000 digits", "8^{" + "9" * 1_000 + "}")
    yield box("100,000 repeating digits", r"0.\overline{" + "123456789" * 11_000 + "}")
    yield box("50,000 digits in base 36", "9" * 50_000 + "_{36}")
    yield box("100,000 minus signs", "-" * 100_000 + "8")
    yield box("100,000 signs", "+-" * 50_000 + "8")
    yield box("100,000 full stops", "." * 100_000)
    yield box("10,000 factorial marks", "8" + "!" * 10_000)
    yield box("5,000 powers", "9^" * 5_000 + "9")
    yield box("5,000 powers of programs", "9**" * 5_000 + "9")
    yield box("20,000 percent signs", "8" + r"\%" * 20_000)
    yield box("20,000 degree signs", "8" + r"^\circ" * 20_000)
    yield box("100,000 primes", "f" + "'" * 100_000)
    yield box("20,000 slashes", "8/" * 20_000 + "8")
    yield box("20,000 products", "8*" * 20_000 + "8")
    yield box("20,000 factors", r"9\cdot " * 20_000 + "9", "9" * 300)
    yield box("20,000 terms", "8+" * 20_000 + "8")
    yield box("50,000 Arabic digits", "\N{ARABIC-INDIC DIGIT THREE}" * 50_000)
    yield box("20,000 halves", "\N{VULGAR FRACTION ONE HALF}" * 20_000)
    yield box("20,000 superscripts", "x" + "\N{SUPERSCRIPT TWO}" * 20_000)


def nested() -> Iterator[Hostile]:
    for count in (1_000, 100_000):
        yield box(f"{count:,} parentheses", "(" * count + "8" + ")" * count)
        yield box(f"{count:,} braces", "{" * count + "8" + "}" * count)
        yield box(f"{count:,} open parentheses", "(" * count + "8")
    for name, opening, closing, count in [
        ("50 fractions", r"\frac{1}{1+", "}", 50),
        ("5,000 fractions", r"\frac{1}{1+", "}", 5_000),
        ("5,000 roots", r"\sqrt{", "}", 5_000),
        ("5,000 roots plus one", r"\sqrt{1+", "}", 5_000),
        ("60 roots plus x", r"\sqrt{x+", "}", 60),
        ("5,000 root indices", r"\sqrt[", "]{2}", 5_000),
        ("5,000 sized parentheses", r"\left(", r"\right)", 5_000),
        ("5,000 absolute values", "|", "|", 5_000),
        ("5,000 sized absolute values", r"\left|", r"\right|", 5_000),
        ("5,000 texts", r"\text{", "}", 5_000),
        ("5,000 exponents", "2^{", "}", 5_000),
        ("5,000 subscripts", "x_{", "}", 5_000),
        ("5,000 sines", r"\sin(", ")", 5_000),
        ("200 sines of x plus", r"\sin(x+", ")", 200),
        ("5,000 logarithms", r"\ln{", "}", 5_000),
        ("5,000 logarithm bases", r"\log_{", "}2", 5_000),
        ("5,000 minus signs with parentheses", "-(", ")", 5_000),
        ("200 factorials", "(", ")!", 200),
        ("200 squares", "(1+", ")^2", 200),
        ("5,000 sets", r"\{", r"\}", 5_000),
        ("5,000 tuples", "(1,", ")", 5_000),
        ("5,000 lists", "[", "]", 5_000),
        ("500 matrices", r"\begin{pmatrix}", r"\end{pmatrix}", 500),
        ("5,000 floors", r"\lfloor ", r"\rfloor ", 5_000),
        ("200 integrals", r"\int_0^1 x", "dx", 200),
        ("200 sums", r"\sum_{k=1}^{9}", "", 200),
        ("5,000 bars", r"\overline{", "}", 5_000),
        ("5,000 binomials", r"\binom{9}{", "}", 5_000),
        ("20,000 boxes in boxes", r"\boxed{", "}", 20_000),
    ]:
        yield box(f"nested: {name}", opening * count + "8" + closing * count)
    yield box("5,000 fractions above fractions", r"\frac{" * 5_000 + "8" + "}{9}" * 5_000)
    yield box("14 levels of two fractions", two_fractions(14))


def two_fractions(depth: int) -> str:
    """Give a fraction with a fraction in both places, `depth` levels of it: 2^depth leaves."""
    inner = "x"
    for level in range(depth):
        inner = rf"\frac{{{inner}+{level}}}{{{inner}+{level + 1}}}"
    return inner


def many_boxes_and_tags() -> Iterator[Hostile]:
    for count in (1_000, 20_000):
        yield text(f"{count:,} boxes", " ".join(rf"\boxed{{{n}}}" for n in range(count)))
    yield text("20,000 corrections", " no, wait, ".join(rf"\boxed{{{n}}}" for n in range(20_000)))
    yield text("20,000 empty boxes", r"\boxed{}" * 20_000)
    yield text("20,000 opened boxes", r"\boxed{" * 20_000)
    yield text("20,000 opened boxes around one", r"\boxed{" * 20_000 + "8}")
    yield text("100,000 box commands", r"\boxed" * 100_000)
    yield text("an open box and 200,000 braces", r"\boxed{" + "{" * 200_000)
    yield text("200,000 closing braces", "}" * 200_000 + r"\boxed{8}")
    yield text("200,000 spaces before the brace", r"\boxed" + " " * 200_000 + "{8}")
    for name, piece, count in [
        ("50,000 opening tags", "<SOLUTION>", 50_000),
        ("50,000 closing tags", "</SOLUTION>", 50_000),
        ("50,000 tags cut short", "<SOLUTION", 50_000),
        ("20,000 empty blocks", "<SOLUTION></SOLUTION>", 20_000),
        ("20,000 blocks", "<SOLUTION>8</SOLUTION>", 20_000),
        ("20,000 blocks back to front", "</SOLUTION>7<SOLUTION>", 20_000),
        ("50,000 ends of the working", "<end_working_out>", 50_000),
        ("50,000 starts of the working", "<start_working_out>", 50_000),
        ("50,000 closed thoughts", "</think>", 50_000),
        ("50,000 opened thoughts", "<think>", 50_000),
        ("20,000 thoughts", "<think></think>", 20_000),
        ("200,000 angle brackets", "<", 200_000),
        ("50,000 answers announced", "answer is ", 50_000),
        ("50,000 answers announced, line by line", "The answer is\n", 50_000),
        ("50,000 labels", "Answer:", 50_000),
        ("50,000 short labels", "A: ", 50_000),
        ("50,000 GSM8K marks", "#### ", 50_000),
        ("200,000 number signs", "#", 200_000),
        ("20,000 denied answers", "The answer is not 8. ", 20_000),
    ]:
        yield text(name, piece * count)
        yield text(f"{name}, then a box", piece * count + r" \boxed{8}")
    yield text("20,000 blocks in blocks", "<SOLUTION>" * 20_000 + "8" + "</SOLUTION>" * 20_000)
    yield text("50,000 denials before a box", "not " * 50_000 + r"\boxed{8}")
    yield text("50,000 corrections between two boxes", r"\boxed{7}" + " no, wait," * 50_000 + r" \boxed{8}")
    yield text("the cubic bait of tag patterns", "<end_working_out><SOLUTION>" + "\n" * 77_000 + "8")


def runs_of_characters() -> Iterator[Hostile]:
    for name, piece, count in [
        ("200,000 spaces", " ", 200_000),
        ("200,000 line breaks", "\n", 200_000),
        ("200,000 tabs", "\t", 200_000),
        ("100,000 no-break spaces", "\N{NO-BREAK SPACE}", 100_000),
        ("200,000 zero-width spaces", "\N{ZERO WIDTH SPACE}", 200_000),
        ("100,000 right-to-left marks", "\N{RIGHT-TO-LEFT MARK}", 100_000),
        ("100,000 combining accents", "\N{COMBINING ACUTE ACCENT}", 100_000),
        ("100,000 mixed combining marks", "\N{COMBINING ACUTE ACCENT}\N{COMBINING DOT BELOW}", 50_000),
        ("50,000 surrogates", "\ud800", 50_000),
        ("50,000 NULs", "\0", 50_000),
        ("20,000 ligatures of 18 letters", "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}", 20_000),
        ("50,000 dotted capitals", "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", 50_000),
        ("50,000 thin spaces", r"\,", 50_000),
        ("50,000 negative spaces", r"\!", 50_000),
        ("50,000 quads", r"\quad ", 50_000),
        ("100,000 ties", "~", 100_000),
        ("200,000 backslashes", "\\", 200_000),
        ("100,000 commas", ",", 100_000),
        ("50,000 ones with commas", "1,", 50_000),
        ("50,000 ones with spaces", "1 ", 50_000),
        ("50,000 ones with semicolons", "1;", 50_000),
        ("50,000 spaced dollars", "$ ", 50_000),
        ("200,000 dollars", "$", 200_000),
        ("50,000 opened displays", r"\[", 50_000),
        ("50,000 closed displays", r"\]", 50_000),
        ("50,000 opened formulas", r"\(", 50_000),
        ("20,000 displays", r"\[8\]", 20_000),
        ("50,000 choices", "or ", 50_000),
        ("50,000 sized left", r"\left", 50_000),
        ("50,000 fraction commands", r"\frac", 50_000),
        ("50,000 begins", r"\begin{", 50_000),
        ("50,000 matrix begins", r"\begin{pmatrix}", 50_000),
        ("100,000 carets", "^", 100_000),
        ("100,000 bars", "|", 100_000),
        ("100,000 letters", "a", 100_000),
        ("50,000 equals signs", "=", 50_000),
        ("50,000 emoji", "\N{GRINNING FACE}", 50_000),
    ]:
        yield text(name, piece * count)
        yield box(f"{name} before an 8, in a box", piece * count + "8")
        yield text(f"an 8, then {name}", "The answer is 8" + piece * count)


def collections_of_values() -> Iterator[Hostile]:
    elements = [str(n) for n in range(10_000)]
    changed = [*elements[:-1], "10001"]
    backwards = ",".join(reversed(changed))
    yield box("a set of 10,000", r"\{" + ",".join(elements) + r"\}")
    yield box("a tuple of 10,000", f"({','.join(elements)})")
    yield box("a list of 10,000", ", ".join(elements))
    yield box("a set of 10,000 against its neighbour", rf"\{{{backwards}\}}", rf"\{{{','.join(elements)}\}}")
    yield box("a tuple of 10,000 against its neighbour", f"({','.join(changed)})", f"({','.join(elements)})")
    roots = [rf"\sqrt{{{n}}}" for n in range(2, 1_002)]
    other = [*roots[:-1], r"\sqrt{1009}"]
    yield box("a set of 1,000 roots", rf"\{{{','.join(reversed(other))}\}}", rf"\{{{','.join(roots)}\}}")
    unions = r"\cup".join(f"({n},{n + 1})" for n in range(0, 4_000, 2))
    yield box("a union of 2,000 intervals", unions)
    yield box("a union against its neighbour", unions, unions + r"\cup(5000,5001)")
    rows = r" \\ ".join([" & ".join(["1"] * 200)] * 200)
    yield box("a matrix of 200 rows", rf"\begin{{pmatrix}} {rows} \end{{pmatrix}}")
    matrix = rf"\begin{{pmatrix}} {rows[:-1]}2 \end{{pmatrix}}"
    yield box("a matrix against its neighbour", matrix, rf"\begin{{pmatrix}} {rows} \end{{pmatrix}}")
    symbols = r" \\ ".join(" & ".join(f"a_{{{r}{c}}}" for c in range(9)) for r in range(9))
    yield box("a determinant of 9 rows", rf"\begin{{vmatrix}} {symbols} \end{{vmatrix}}", "a_{00}")
    yield box("30 plus-minus signs", r"\pm 1" * 30)
    yield box("30 plus-minus signs against roots", " + ".join(rf"\pm\sqrt{{{n}}}" for n in range(2, 32)), r"\pm 1")
    yield box("5,000 plus-minus signs", r"\pm 1" * 5_000)
    yield box("a chain of 20,000", "8=" * 20_000 + "8")
    yield box("a chain of 20,000 variables", "x=" * 20_000 + "8")
    yield box("an order of 20,000", "<".join(str(n) for n in range(20_000)))


def expressions() -> Iterator[Hostile]:
    names = "abcdefghijklm"
    yield box("a power of four variables", "(x+y+z+w)^{60}")
    yield box("sixty factors of four variables", "(x+y+z+w)" * 60, "(x+y+z+w)^{60}+1")
    yield box("sixty different factors", "".join(f"(x+{n}y+z+w)" for n in range(60)), "(x+y+z+w)^{60}")
    yield box("100 linear factors", "".join(f"(x-{n})" for n in range(1, 101)), r"\prod_{k=1}^{99}(x-k)")
    yield box("5,000 monomials", "+".join(f"{n}x^{{{n}}}" for n in range(1, 5_001)))
    yield box("500 variables", "+".join(f"x_{{{n}}}" for n in range(500)), "+".join(f"y_{{{n}}}" for n in range(500)))
    sines = [rf"\sin(\cos({a}\tan({b})))" for a, b in zip(names, reversed(names), strict=True)]
    yield box("sum of 13 sines", "+".join(sines), "-".join(sines))
    yield box("product of 13 sines", " ".join(sines), "+".join(sines))
    sum_of_roots = "+".join(rf"\sqrt{{{n}}}" for n in range(2, 202))
    yield box("200 roots", sum_of_roots, sum_of_roots + r"+\sqrt{211}")
    yield box("30 roots in denominators", "+".join(rf"\frac{{1}}{{\sqrt{{{n}}}+x}}" for n in range(2, 32)), "x")
    harmonic = "+".join(rf"\frac{{1}}{{{n}}}" for n in range(1, 2_001))
    yield box("2,000 unit fractions", harmonic, harmonic + r"+\frac{1}{2001}")
    yield box("200 cosines of multiples", "+".join(rf"\cos({n}x)" for n in range(200)), r"\sin x")
    yield box("50 nested exponentials", "e^{" * 50 + "x" + "}" * 50, "e^{" * 51 + "x" + "}" * 51)
    yield box("squares of squares", "(" * 40 + "x+1" + ")^2" * 40, "(x+1)^{2}")
    yield box("30 absolute values", "+".join(f"|x-{n}|" for n in range(30)), "x")


def code_attacks() -> Iterator[Hostile]:
    payloads = [
        f"__import__('os').system('touch {MARKER}')",
        f"exec(\"open('{MARKER}','w')\")",
        f"(lambda: open('{MARKER}','w'))()",
        f"[].append(open('{MARKER}','w'))",
        f"[c for c in ().__class__.__base__.__subclasses__() if c.__name__=='Popen'][0](['touch','{MARKER}'])",
    ]
    wrappers = [
        r"\boxed{%s}",
        r"\boxed{\text{%s}}",
        r"\boxed{\operatorname{%s}}",
        r"\boxed{\frac{%s}{1}}",
        r"<SOLUTION>%s</SOLUTION>",
        "The answer is %s",
        r"\boxed{x = 8 + %s}",
    ]
    for p, payload in enumerate(payloads, 1):
        for w, wrapper in enumerate(wrappers, 1):
            yield text(f"code {p} in wrapper {w}", wrapper % payload)
    yield text("code against a symbolic target", r"\boxed{" + payloads[0] + "+x}", "x+1")


def corpus(marker: Path) -> Iterator[Hostile]:
    """Give every hostile input, one after the other; a code attack that succeeds creates `marker`."""
    sources = [stored, long_numbers, nested, many_boxes_and_tags, runs_of_characters]
    for source in [*sources, collections_of_values, expressions, code_attacks]:
        for one in source():
            filled = one.completion.replace(MARKER, str(marker))
            yield Hostile(name=one.name, completion=filled, target=one.target, may_be_correct=one.may_be_correct)


def peak_mib(process: int | str = "self") -> float:
    """Give the most memory a process ever held; unlike `ru_maxrss` it does not carry over from who started it."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it has just ended
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peaks[0]) / 1024 if peaks else 0.0


def descendants(process: int) -> list[int]:
    found: list[int] = []
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            found += [int(pid) for pid in file.read_text(encoding="utf-8").split()]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    return found + [one for child in found for one in descendants(child)]


def main(marker: Path) -> None:
    import resource

    from razona.core.nouns import Outcome
    from razona.verify import check

    check(r"\boxed{\sin^2 x}", r"1-\cos^2 x")  # whatever is started once is started now
    before = peak_mib()
    accepted, late, workers, slowest = [], {}, 0.0, (0.0, "")
    for one in corpus(marker):
        print(one.name, file=sys.stderr, flush=True)  # where it hangs, should it hang
        start = time.perf_counter()
        verdict = check(one.completion, one.target)
        seconds = time.perf_counter() - start
        if verdict.outcome is Outcome.CORRECT and not one.may_be_correct:
            accepted.append(one.name)
        slowest = max(slowest, (round(seconds, 3), one.name))
        if seconds >= DEADLINE_S:
            late[one.name] = round(seconds, 3)
        workers = max([workers, *map(peak_mib, descendants(os.getpid()))])
    ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    grown = peak_mib() - before
    workers = max(workers, ended)
    figures = {"accepted": accepted, "late": late, "grown_mib": grown, "worker_mib": workers, "slowest": slowest}
    print(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
