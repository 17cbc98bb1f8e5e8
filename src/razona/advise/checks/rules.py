"""The table of rules: what each looks at, why it hurts, when its finding means nothing, and where its limit is from.

What a rule saw, and which value to set, comes with each finding.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is true of every finding of one rule."""

    sees: str
    why: str
    wrong_when: str
    source: str


OURS = "ours, without a source"

RULES: Mapping[str, Rule] = {
    # data
    "wrong-column": Rule(
        sees="the question's or the target's column is not there, or holds something else",
        why="no completion can be right where the target is no answer",
        wrong_when="every problem of the set really has that answer",
        source=f"open-r1#474, #503; the limits are {OURS}",
    ),
    "unreadable-targets": Rule(
        sees="the share of targets that are not judged right as their own answer, or cannot be compared with another",
        why="a group whose target cannot be read is never paid, or pays for what is wrong",
        wrong_when="the targets are for a reward function of your own, which reads them in its own way",
        source=f"open-r1#55 and #566 (gold that could not be parsed was paid in full); 2 % is {OURS}",
    ),
    "too-few-problems": Rule(
        sees="the problems that are left after the filters, against what one step takes",
        why="a step needs a problem for every group",
        wrong_when="never: training refuses it, too",
        source="arithmetic",
    ),
    "duplicates": Rule(
        sees="the share of questions that repeat an earlier one but for case and white space",
        why="they are trained on more often than the others",
        wrong_when="a problem is meant to weigh more",
        source=f"1 % is {OURS}; DAPO-Math-17k has 5.4 %",
    ),
    "contradictions": Rule(
        sees="repeated questions with another target",
        why="at most one of the two targets can be right: the other punishes right answers",
        wrong_when="the question was cut short, so that two problems look alike",
        source="arithmetic",
    ),
    "evaluation-in-training": Rule(
        sees="training questions that share half of an evaluation question's runs of 8 words",
        why="the evaluation is no longer held out, and its gain may be memory",
        wrong_when="both are made from one sentence with other numbers in it",
        source="Tülu 3, arXiv:2411.15124, section 3.2",
    ),
    # rewards
    "gold-form-mismatch": Rule(
        sees="what the rewards pay for the data's own target, written in the form that the prompt asks for",
        why="the policy is paid less, or nothing, for being right in the way it was told to",
        wrong_when="a reward function of your own expects a form that the prompt does not show",
        source=f"Trinity-RFT#566 (the prompt says `Answer:`, the parser wants a box); 2 % is {OURS}",
    ),
    "flat-reward": Rule(
        sees="whether any two completions are paid differently",
        why="where all are paid alike every advantage is 0, and no weight moves",
        wrong_when="problems are solved so rarely that more samples are needed to see it (--samples)",
        source="GRPO, arXiv:2402.03300, section 4.1: the advantage is a difference within the group",
    ),
    "reward-red-team": Rule(
        sees="whether known right completions are paid more than known wrong ones (razona redteam)",
        why="what is paid is learnt, and wrong answers are easier to write than right ones",
        wrong_when="the rewards are a baseline whose faults are known",
        source="hkust-nlp, RL-Verifier-Pitfalls (13 patterns of attack); open-r1#407, Visual-RFT#79",
    ),
    # prompt
    "missing-tag": Rule(
        sees="whether the prompt names the tags that the rewards read, and ends with the opening one",
        why="the policy cannot know a form that nobody told it, and is paid for nothing else",
        wrong_when="the model writes that form without being told",
        source="understand-r1-zero (arXiv:2503.20783, section 2): the template decides what a base model does",
    ),
    "double-tag": Rule(
        sees="whether the working is opened twice where the completion begins",
        why="the model is shown a form that the rewards call wrong, and continues it",
        wrong_when="the second tag is part of the question",
        source="docs of ms-swift and Axolotl (errors of templates)",
    ),
    "eos-masked": Rule(
        sees="whether the end of a text can be sampled, stops the sampling, and is what the template ends a turn with",
        why="a completion that cannot end runs into the limit, whatever it says",
        wrong_when="the template's end of turn never comes up, because a base model ends with its end of text",
        source="unsloth's and ms-swift's notes on templates of base models",
    ),
    "beyond-positions": Rule(
        sees="the longest prompt and the completion's limit, against the positions that the model knows",
        why="beyond them the model was never trained, and some fail",
        wrong_when="the model's positions are scaled when it is loaded",
        source="the model's config.json, max_position_embeddings",
    ),
    # samples of the untrained model
    "limit-below-median": Rule(
        sees="how many tokens the untrained model writes, against rollout.max_completion_tokens",
        why="more than half of the completions are cut off before their answer, and paid nothing",
        wrong_when="the model writes on after its answer, and will learn to end",
        source=f"greyhaven autocontext#1067 (every completion cut, reward 0, loss 0); the median is {OURS}",
    ),
    "truncation": Rule(
        sees="the share of the untrained model's completions that the limit cuts off",
        why="what is cut off has no answer, so length is punished in place of error",
        wrong_when="the model writes on after its answer, and will learn to end",
        source="Axolotl's training_stability guide: below 0.3 healthy, above 0.8 alarming",
    ),
    "no-signal": Rule(
        sees="the expected share of groups whose rewards differ, and the share of right completions",
        why="a group that is never or always right has advantages of 0 and teaches nothing",
        wrong_when="the training set holds easier problems than the ones that were sampled",
        source="Axolotl's training_stability guide: under 0.8 of the groups without signal is healthy. Shown beside "
        "it: accuracy under 0.10 is a hard stop in a public decision tree (Lucy), over 70 % failing is too hard in "
        "Microsoft's azure-skills",
    ),
    "too-easy": Rule(
        sees="the share of completions that are right before any training",
        why="there is little left to learn, and most groups are right throughout",
        wrong_when="the last per cent is what you are after",
        source="over 0.85 in a public decision tree (Lucy), under 10 % failing in azure-skills; AWS Nova: over 95 % "
        "needs no reinforcement",
    ),
    # settings and machine
    "group-size": Rule(
        sees="the completions of a problem that are compared with each other",
        why="a completion alone has nothing to be compared with; a few are rarely both right and wrong",
        wrong_when="the problems are solved about half of the time: then pairs are enough",
        source="1 - p^G - (1-p)^G; GRPO, arXiv:2402.03300",
    ),
    "engine-ignores-option": Rule(
        sees="top_p, top_k and min_p, against what the engine draws with and what the trainer's log-probs know",
        why="tokens are drawn from one distribution, and the log-probs of another are trained: the step is biased",
        wrong_when="it is a deliberate experiment",
        source="trl#6789, trl#7269: with min_p = 0.1, 51.8 % of the tokens have a ratio outside [0.9, 1.1]",
    ),
    "incompatible-versions": Rule(
        sees="the installed versions, against known conflicts and the ranges of this package",
        why="an import fails, or a private method that we override has changed",
        wrong_when="you have tried this very pair",
        source="pyproject.toml; Unsloth 2026.10.9's own requirements; TRL 1.15's fused log-prob kernel",
    ),
    "memory": Rule(
        sees="the estimated peak of memory, against what the machine has",
        why="the run ends in the middle of a step",
        wrong_when="the estimate is off: docs/memory.md says by how much",
        source="razona.advise.memory",
    ),
    "disk": Rule(
        sees="the checkpoints that the run keeps, against the free disk",
        why="a checkpoint that cannot be written is a run that cannot go on",
        wrong_when="the run folder is on another disk (--out)",
        source="arithmetic: trained parameters x 12 bytes (weights and AdamW's two moments) a checkpoint",
    ),
}
"""Name -> facts."""
