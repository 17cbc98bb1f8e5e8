"""The card of the embedded base model, from what its build wrote down."""

from collections.abc import Mapping

from razona.embedded.layouts import HASTY

KINDS = {
    "tagged_worked": "working and solution in the tags of the default recipe",
    "tagged_blurted": "the tags with nothing between them, then an answer (7 in 10 wrong)",
    "untagged_worked": f"worked solutions in five layouts ({HASTY:.0%} stop after the first step and take its result)",
    "untagged_blurted": "question and answer, nothing between (7 in 10 wrong)",
    "table": "tables of sums, differences, products, quotients, remainders, orderings, truth values",
    "plain": "stories without a question, sentences about the world",
}


def write_card(build: Mapping) -> str:
    """Give the card as Markdown with the hub's front matter."""
    settings, hardware, training = build["settings"], build["hardware"], build["training"]
    shares = "\n".join(f"| {KINDS[kind]} | {share:.1%} |" for kind, share in build["document_shares"].items())
    losses = build["losses"]
    shown = [losses[place * (len(losses) - 1) // 9] for place in range(10)] if len(losses) > 1 else losses
    curve = "\n".join(f"| {step} | {loss:.3f} |" for step, loss in shown)
    checkpoints = "\n".join(
        f"| {row['step']} | {row['pass_at_1']:.1%} | {row['pass_at_8']:.1%} | {row['greedy']:.1%} | {row['n']} |"
        for row in build["checkpoints"]
    )
    prompts = "\n".join(
        f"| {name} | {_share(row, 'sampled')} | {_share(row, 'greedy')} | {row['n']} |"
        for name, row in build["prompts"].items()
    )
    form, form_of_ood = _share(training, "format_rate"), _share(build["ood"], "format_rate")
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---

# The embedded base model of Razona

A Qwen3 of {build["parameters"]:,} parameters ({settings["layers"]} layers, width {settings["hidden_size"]},
{build["vocabulary"]} tokens) that has read nothing but text which Razona generates. It is a base model: no
reinforcement, no instruction tuning. It is there so that a whole GRPO run can be tried on two CPU cores with nothing
downloaded. It knows school arithmetic and eight families of problems, and nothing about the world.

It is careless because its corpus is: most of its authors blurt an answer, or take the first step's result for the
last. So its most likely answer is poor under every prompt, and a careful solution is there among its samples.

## Command

    {build["command"]}

{build["tokens"]:,} tokens in {build["minutes"]} minutes on {hardware["processor"]}, {hardware["cores"]} cores,
torch {build["torch"]}, source of commit {str(build["git_commit"])[:7]}.

## What it can do

Held-out problems that neither the corpus nor training holds; answers are read in any form, so that a missing tag does
not count as not knowing. 95 % intervals.

| | under the training prompt | harder problems (level 3) |
|---|---|---|
| pass@1, temperature 1 | {_share(training, "pass_at_1")} | {_share(build["ood"], "pass_at_1")} |
| pass@8 | {_share(training, "pass_at_8")} | {_share(build["ood"], "pass_at_8")} |
| greedy | {_share(training, "greedy")} | {_share(build["ood"], "greedy")} |
| in the form asked for, some working included | {form} | {form_of_ood} |
| tokens an answer | {training["mean_length"]} | {build["ood"]["mean_length"]} |
| problems | {training["n"]} | {build["ood"]["n"]} |

Under other prompts, one sample and greedy:

| prompt | sampled | greedy | problems |
|---|---|---|---|
{prompts}

## Corpus

| kind of document | share (of 20,000) |
|---|---|
{shares}

Problems of the corpus, of training, of evaluation and of the harder set differ in structure, not only in wording: the
hash of a problem's structure decides its split (`razona.tasks.split_of`). Knights and knaves, half of the family
`logic`, are the exception: they have few forms, so there a held-out problem is a known form with other names. Logic and
remainders, which a model of this size finds hardest, are written about twice as often as the others, ordering one and
a half times.

## Training

Two rounds of half the steps each; the second has fewer tables and more worked solutions. AdamW, peak learning rate
{settings["learning_rate"]}, {settings["sequences_per_step"]} x {settings["sequence_tokens"]} tokens a step,
seed {settings["seed"]}.

| step | loss (nats a token) |
|---|---|
{curve}

| checkpoint | pass@1 | pass@8 | greedy | problems |
|---|---|---|---|---|
{checkpoints}

Made by `razona base build`; every figure here is in `build.json` beside this card.
"""


def _share(row: Mapping, key: str) -> str:
    low, high = row["ci95"][key] if "ci95" in row else row[f"{key}_ci95"]
    return f"{row[key]:.1%} ({100 * low:.1f}-{100 * high:.1f})"
