"""Completions for two small puzzles: every valid solution is right, and no near one is.

Does not cover: formulas, entailment and grids, whose own tests hold them.
"""

from collections.abc import Mapping

from razona.rewards.attacks import Case, Exam, Form
from razona.verify import Tags

COUNTDOWN = {"puzzle": "countdown", "nums": [3, 4, 5], "target": 35}
COUNTDOWN_RIGHT = {
    "plain": "(3 + 4) * 5",
    "other order": "5 * (4 + 3)",
    "LaTeX times": r"(3 + 4) \times 5",
    "with its value": "(3 + 4) * 5 = 35",
    "boxed": r"\boxed{(3 + 4) \times 5}",
    "spaces": "  ( 3+4 )*5 ",
    "third order": "5 * (3 + 4)",
}
COUNTDOWN_WRONG = {
    "target alone": "35",
    "other value": "3 + 4 * 5",
    "a number twice": "5 * 5 + 5 + 5",
    "a number left out": "7 * 5",
    "wrong value claimed": "3 + 4 + 5 = 35",
    "two expressions": "(3 + 4) * 5 or 3 + 4 * 5",
    "glued digits": "34 + 5 - 4",
    "code": "__import__('os').getpid()",
    "tower of powers": "9**9**9**9",
    "division by zero": "35 / (3 - 3)",
    "empty": "",
    "deep brackets": "(" * 4_000 + "3" + ")" * 4_000,
    "nan": "nan",
}
KNIGHTS = {
    "puzzle": "knights",
    "question": (
        "A very special island is inhabited only by knights and knaves. Knights always tell the truth, and knaves "
        'always lie. You meet 2 inhabitants: Ann, and Bob. Ann said, "Bob is a knave". Bob said, "Ann is a knave '
        'and Bob is a knave". So who is a knight and who is a knave?'
    ),
}
KNIGHTS_RIGHT = {
    "sentences": "Ann is a knight, and Bob is a knave.",
    "lines": "(1) Ann is a knight\n(2) Bob is a knave",
    "colons": "Ann: knight\nBob: knave",
    "other order": "Bob is a knave, and Ann is a knight.",
}
KNIGHTS_WRONG = {
    "roles swapped": "Ann is a knave, and Bob is a knight.",
    "both knights": "Ann is a knight, and Bob is a knight.",
    "both knaves": "Ann is a knave, and Bob is a knave.",
    "one person left out": "Ann is a knight.",
    "both roles for one": "Ann is a knight, and Ann is a knave, and Bob is a knave.",
    "hedge": "Ann is a knight or a knave, and Bob is a knave.",
    "roles without names": "knight, knave",
    "empty": "",
}


def logic_exams(tags: Tags) -> list[Exam]:
    """Give an exam of countdown and one of knights and knaves."""
    return [
        _exam("countdown 3 4 5 -> 35", COUNTDOWN, (COUNTDOWN_RIGHT, COUNTDOWN_WRONG), Form(tags=tags)),
        _exam("knights and knaves", KNIGHTS, (KNIGHTS_RIGHT, KNIGHTS_WRONG), Form(tags=tags)),
    ]


def _exam(name: str, row: Mapping[str, object], answers: tuple[dict[str, str], dict[str, str]], form: Form) -> Exam:
    right_answers, wrong_answers = answers
    gold, wrong = next(iter(right_answers.values())), next(iter(wrong_answers.values()))
    right = {key: form.solved(answer) for key, answer in right_answers.items()} | {
        "empty working": form.solved(gold, working=""),
        "text after the block": f"{form.solved(gold)} I am sure of it.",
    }
    bad = {key: form.solved(answer) for key, answer in wrong_answers.items()} | {
        "nothing": "",
        "only in the working": f"{gold}{form.tags.working_close}",
        "right in the working, wrong in the block": form.solved(wrong, working=gold),
        "right text after a wrong block": f"{form.solved(wrong)} {gold}",
        "two blocks": f"{form.solved(gold)}{form.block(wrong)}",
        "block that never ends": f"x{form.tags.working_close}{form.tags.solution_open}{gold}",
    }
    cases = [Case(pattern=key, text=text, is_right=True) for key, text in right.items()]
    cases += [Case(pattern=key, text=text, is_right=False) for key, text in bad.items()]
    return Exam(name=name, target=str(row.get("target", "")), cases=tuple(cases), row=row)
