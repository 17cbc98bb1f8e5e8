r"""Where a completion says what its answer is.

Only text outside the working counts: what follows the first end of working (or `</think>`); nothing, where a working
was opened and never ended. There, the first of these that occurs:

1. solution blocks, `<SOLUTION>...</SOLUTION>` in the default tags; a box inside the block is the answer;
2. `\boxed{...}` with balanced braces: the last one, with those right before it;
3. what follows the last `answer is`, `Answer:`, `Result:`, `####` or `A:` at the start of a line;
4. where the caller allows it (`Settings.is_unmarked_allowed`): a short text as a whole, its last formula, its last
   number.

Several answers. Boxes that stand within `MAX_GAP` characters of each other are given jointly: together they answer a
target with several values, and for a target with one value they are a hedge, unless they all say the same. Further
apart, the last one counts. A word of correction between two boxes ("no", "wait", "actually", ...) takes back all before
it. Solution blocks are all given jointly, unless one is corrected likewise. A box that its own sentence denies ("is not
\boxed{7}", "\boxed{7} is wrong") or only supposes ("if it were \boxed{7}") is no answer.

The target is never searched for in the text. Everything is linear in the text's length.
"""

import re
from dataclasses import dataclass

from razona.verify.found import Found, nothing
from razona.verify.tags import Tags
from razona.verify.units import NO_UNIT
from razona.verify.unmarked import find_in_phrase, find_unmarked

MAX_GAP = 120
"""Characters between two boxes that are still one statement."""
MAX_BLOCKS = 50
TAIL = 160
"""Characters at the end of a text that are searched first."""
_THINK_OPEN = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_THINK_CLOSE = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\[{}]|[{}]")
_CORRECTION = re.compile(
    r"\b(?:no|wait|actually|correction|sorry|oops|rather|instead|mistake|hmm|scratch that|i mean|let me|should be)\b",
    re.IGNORECASE,
)
_DENIED_BEFORE = re.compile(
    r"(?:\bnot|n't|\bnever|\bcannot be|\brather than|\binstead of|\\n(?:e|eq)\b|≠|!=|\bno way|\banything but|\bneither"
    r"|\b(?:exclude|rule out|reject|eliminate|discard|doubt|false|untrue|unlikely|wrong|incorrect))[*_]*"
    r"(?:\s|equal to|possibly|be|just|simply|\\\(|\$|that|it is|the answer|=){0,12}$",
    re.IGNORECASE,
)
_SUPPOSED_BEFORE = re.compile(
    r"\b(?:if|suppose|supposing|assume|assuming|were it|had it been)\b[^.!?\n]*$", re.IGNORECASE
)
_DENIED_AFTER = re.compile(
    r"^[\s$.)\\\]]{0,4}(?:is|was|would be|seems|looks)?\s*(?:(?:clearly|obviously|also|certainly)\s+)?"
    r"(?:not\b|wrong\b|incorrect\b|false\b|n't\b|impossible\b|cannot\b|can't\b|fails\b"
    r"|do(?:es)?(?: not|n't) (?:work|fit)|(?:can|must|may) be (?:ruled out|excluded|rejected|discarded)"
    r"|[-\N{EM DASH}\N{EN DASH}?]+\s*(?:no[.,!]|wrong\b))",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"[\s.,;!?*$-]*(?:no[,!.]|no wait\b|wait\b|correction\b|oops\b|scratch that\b|sorry,|i mean\b)", re.IGNORECASE
)
_MARKS = (
    "answer is", "answer:", "answer :", "answer**:", "answer was", "answers are", "answer=", "result:", "result is",
    "####", "final answer**\n", "final answer\n",
    "\na:", "réponse :", "réponse:", "réponse est", "答案\N{FULLWIDTH COLON}", "答案是",
)  # fmt: skip
_SENTENCE_END = re.compile(r"(?<=[^\d\s])\.(?=\s+[A-Z]|\s*$)|\n|(?<=\d)\.(?=\s|$)")
_MARKED_NUMBER = re.compile(
    r"[ \t:*]*(\$?[+-]?(?>[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?))"
    r"(?![0-9/^*+:%\\]|[,.][0-9/\\]|[ \t]*[\\{$]|[ \t]+[0-9]"  # more of the same formula follows
    r"|[ \t]*[^\x00-\x7f\N{EM DASH}\N{FULLWIDTH COMMA}。\N{RIGHT SINGLE QUOTATION MARK}“”]"
    r"|[ \t]*[-+*/^=<>|\N{EM DASH}:][ \t]*(?:[0-9\\(]|[a-z](?![a-z]))"
    r"|[ \t]+(?!a\b|I\b)[A-Za-z](?![A-Za-z])"  # or a unit of one letter
    r"|[ \t]*(?:and|,|;|to|through)[ \t]*[$+-]*[0-9]|[ \t,(]*or\b"  # or another answer
    rf"|[ \t]+(?:{NO_UNIT}|of|out of|by|to|in base|with|less than|more than|fewer than|dozen)\b"
    r"|[ \t]+and (?:(?:a|an|one|two|three|four|five|six|seven|eight|nine|ten|half)\b|\$))"
    r"(?=[\s.,;!)*]|$)"
)
"""A bare number right after a mark, by far the most common answer."""


def outside_the_working(text: str, tags: Tags) -> str | None:
    """Give the text in which an answer may stand; None where the working was opened and never ended."""
    end = text.find(tags.working_close)
    if end >= 0:
        return text[end + len(tags.working_close) :]
    if "think" in text or "THINK" in text or "Think" in text:
        closed = [match.end() for match in _THINK_CLOSE.finditer(text)]
        if _THINK_OPEN.search(text, closed[-1] if closed else 0):
            return None
        if closed:
            return text[closed[-1] :]
    return None if tags.working_open in text else text


def find_solution(text: str, tags: Tags) -> str | None:
    """Give the text of the last complete solution block, None where there is none. Linear in the text's length."""
    end = text.rfind(tags.solution_close)
    if end < 0:
        return None
    start = text.rfind(tags.solution_open, 0, end)
    return None if start < 0 else text[start + len(tags.solution_open) : end]


def _solutions(region: str, tags: Tags) -> tuple[str, ...]:
    """Give the texts of the solution blocks, the last `MAX_BLOCKS` of them."""
    blocks: list[str] = []
    rest = len(region)
    while len(blocks) < MAX_BLOCKS:
        end = region.rfind(tags.solution_close, 0, rest)
        start = region.rfind(tags.solution_open, 0, end) if end >= 0 else -1
        if start < 0:
            break
        if blocks and rest - end < 2 * MAX_GAP and _CORRECTION.search(region, end + len(tags.solution_close), rest):
            break
        blocks.append(region[start + len(tags.solution_open) : end])
        rest = start
    return tuple(reversed(blocks))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    text: str
    start: int
    end: int


def _boxes(text: str) -> list[_Box]:
    r"""Give the outermost closed boxes, in order. Braces that LaTeX writes as `\{` do not count."""
    opened: list[tuple[int, int]] = []  # (where the box's mark begins or -1, where its text begins)
    boxes: list[_Box] = []
    first = max(text.find("\\boxed"), 0) if "\\fbox" not in text else 0
    for mark in _BRACE.finditer(text, first):
        token = mark[0]
        if token == "}":
            if opened:
                start, begin = opened.pop()
                if start >= 0:
                    while boxes and boxes[-1].start > start:  # boxes inside this one
                        boxes.pop()
                    boxes.append(_Box(text=text[begin : mark.start()], start=start, end=mark.end()))
        elif token == "{":
            opened.append((-1, mark.end()))
        elif len(token) > 2:
            opened.append((mark.start(), mark.end()))
    return boxes


_DENIED = nothing("the box is denied by its own sentence")


def _boxed(region: str) -> Found | None:
    """Give the last boxes that stand together; None where there is no box at all."""
    boxes = _boxes(region)
    if not boxes:
        return None
    last = len(boxes) - 1
    while last >= 0 and not boxes[last].text.strip():  # an empty box, as in a copied instruction
        last -= 1
    if last < 0:
        return nothing("the box is empty")
    joint = [boxes[last]]
    for box in reversed(boxes[max(0, last - MAX_BLOCKS) : last]):
        between = region[box.end : joint[-1].start]
        if len(between) > MAX_GAP or _CORRECTION.search(between):
            break
        if box.text.strip():
            joint.append(box)
    joint.reverse()
    before = region[max(0, joint[0].start - 80) : joint[0].start]
    before = before[max(before.rfind("\n"), before.rfind(". ")) + 1 :]
    after = region[joint[-1].end : joint[-1].end + 40]
    if _DENIED_BEFORE.search(before) or _DENIED_AFTER.match(after) or _TAKEN_BACK.match(after):
        return _DENIED
    if _SUPPOSED_BEFORE.search(before) and re.match(r"[^.!?\n]{0,20}\b(?:but|then|which|however)\b", after):
        return nothing("the box is only supposed by its own sentence")
    return Found(answers=tuple(box.text.strip() for box in joint), place="boxed", following=after)


def _last_mark(text: str) -> tuple[int, str]:
    lowered = text.lower()
    if len(lowered) != len(text):  # a letter whose small form is longer
        lowered = text
    position, mark = -1, ""
    for candidate in _MARKS:
        found = lowered.rfind(candidate)
        if found > position:
            position, mark = found, candidate
    return position, mark


def _marked(region: str) -> Found | None:
    """Give what follows the last mark, up to the end of its line or sentence; None where there is no mark."""
    position, mark = _last_mark(region[-TAIL:])  # most answers stand at the end: a mark found there is the last one
    if position >= 0:
        position += max(0, len(region) - TAIL)
    elif len(region) > TAIL:
        position, mark = _last_mark(region)
    if position < 0 and region[:2] in ("A:", "a:"):
        position, mark = 0, "a:"
    if position < 0:
        return None
    before = region[max(0, position - 60) : position]
    before = before[max(before.rfind("\n"), before.rfind(". ")) + 1 :]
    if _DENIED_BEFORE.search(before.removesuffix("the ").removesuffix("that ")):
        return nothing("the answer is denied by its own sentence")
    start = position + len(mark)
    while region[start : start + 1] == "\n":
        start += 1
    line, _, rest = region[start:].partition("\n")
    number = _MARKED_NUMBER.match(line)
    if number:
        following = line[number.end() : number.end() + 40]
        if _DENIED_AFTER.match(following) or _TAKEN_BACK.match(following or rest[:40]):
            return nothing("the answer is denied by what follows")
        return Found(answers=(number[1],), place="marked", following=following)
    answer = _whole_phrase(line.lstrip(" :*\t").removeprefix("$$") if line.count("$$") == 1 else line.strip(" :*\t"))
    if not answer:
        return None
    if re.match(r"(?:not|n't|never)\b", answer, re.IGNORECASE):
        return nothing("the answer is denied by its own sentence")
    return Found(answers=(answer,), place="marked")


_GOES_ON = re.compile(rf"(?:and|or|,)|[$\\%/^*+=<>0-9-]|(?:{NO_UNIT})\b")
"""What follows a formula and belongs to it."""


def _whole_phrase(line: str) -> str:
    """Cut a line after its formula or at the end of its sentence."""
    for opening, closing in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        if line.startswith(opening):
            end = line.find(closing, len(opening))
            rest = line[end + len(closing) :].strip(" .*") if end > 0 else ""
            if end > 0 and not _GOES_ON.match(rest):
                return line[: end + len(closing)] + (" " + rest if re.fullmatch(r"[A-Za-z]{1,12}", rest) else "")
    sentence = _SENTENCE_END.search(line)
    if sentence:
        line = line[: sentence.start()]
    for cut in (" because", ", because", ", since ", ", so ", ", which", " I hope"):
        head, found, _ = line.partition(cut)
        line = head if found and head.strip() else line
    return line.split("<")[0].strip(" *`\t") if re.search(r"</?[a-zA-Z|]", line) else line.strip(" *`\t")


def extract(text: str, tags: Tags, *, is_unmarked_allowed: bool = False) -> Found:
    """Give what a completion says its answer is. The order is the one of this file's head."""
    region = outside_the_working(text, tags)
    if region is None:
        found = nothing("the working never ends")
    else:
        found = _extract(region, tags, is_unmarked_allowed=is_unmarked_allowed)
    if is_unmarked_allowed and not found.answers and len(region or "") < len(text):
        return _extract(text.replace(tags.working_close, "\n"), tags, is_unmarked_allowed=True)
    return found


def _extract(region: str, tags: Tags, *, is_unmarked_allowed: bool) -> Found:
    if tags.solution_close in region:
        blocks = _solutions(region, tags)
        if blocks:
            answers = tuple(_inner(block) for block in blocks)
            if any(answers):
                return Found(answers=tuple(answer for answer in answers if answer), place="solution")
            return nothing("the solution block is empty")
    if "box" in region and ("\\boxed" in region or "\\fbox" in region):
        boxed = _boxed(region)
        if boxed is not None:
            return boxed
    marked = _marked(region)
    if is_unmarked_allowed:
        return find_unmarked(region) if marked is None else find_in_phrase(marked)
    if marked is not None:
        return marked
    return nothing("nothing in the completion is marked as its answer")


def _inner(block: str) -> str:
    """Give the text of a solution block, or of the box in it."""
    if "\\boxed" in block:
        boxes = _boxes(block)
        if len(boxes) == 1:
            outside = block[: boxes[0].start] + block[boxes[0].end :]
            is_bare_list = any(map(str.isdigit, outside)) and not re.search("[A-Za-z]{2}", outside)
            return block.strip() if is_bare_list or _boxed(block) == _DENIED else boxes[0].text.strip()
    return block.strip()
