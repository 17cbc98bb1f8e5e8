"""The model card of an export: what it is, how much better than its base, how to load it, what to look out for."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

import razona
from razona.core.functions import is_function_name
from razona.core.markdown import coded, in_cell
from razona.core.rundir import RunDir
from razona.data.source import TASKS, is_file_source
from razona.export.source import Source
from razona.recipe import Recipe

EMBEDDED = "embedded"
METHODS = {
    "grpo": "trained with GRPO (reinforcement learning with verifiable rewards)",
    "sft": "fine-tuned on worked solutions (supervised)",
    "sft_then_grpo": "fine-tuned on worked solutions, then trained with GRPO (reinforcement learning with verifiable "
    "rewards),",
}
SOLUTIONS = {
    "own": "the base's own, kept where the verifier accepted them; nobody labelled one",
    "given": "given with the data",
}
WHAT = {
    "adapter": "a LoRA adapter (PEFT): it needs its base model",
    "merged": "a whole model: what was trained is added into the weights",
    "gguf": "a whole model in one GGUF file, for llama.cpp and what is built on it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a card tells of."""

    source: Source
    format: str
    dtype: str
    proof: Mapping[str, object]
    """As `export.json` holds it."""
    prompt: str
    """One prompt of the training, as an example."""


def write_card(card: Card) -> str:
    """Give the card as Markdown with the hub's front matter."""
    recipe, run = card.source.recipe, card.source.run
    parts = [
        f"---\n{yaml.safe_dump(front_matter(card), sort_keys=False, allow_unicode=True)}---\n",
        f"# {recipe.name}\n",
        f"{coded(recipe.model.name)}, {METHODS[recipe.train.method]} to work a problem out before it answers. This "
        f"folder holds {WHAT[card.format]}, in {card.dtype}.\n",
        "## Base and tuned\n",
        comparison(run, recipe),
        "## How to ask\n",
        "The model was trained on prompts of exactly this form; in another one it may answer like its base. The chat "
        "template that comes with it writes it of a question alone.\n",
        fenced("text", card.prompt),
        f"The answer follows: working, {coded(recipe.prompt.working_close)}, then the solution between "
        f"{coded(recipe.prompt.solution_open)} and {coded(recipe.prompt.solution_close)}.\n",
        "## How to load it\n",
        fenced(*_loading(card)),
        "## How it was made\n",
        _making(card),
        "## What was checked\n",
        _proof(card),
        "## What to look out for\n",
        _limits(card.source),
    ]
    return "\n".join(parts)


def front_matter(card: Card) -> dict[str, object]:
    """Give the fields that the hub reads; a base or data set that is not on the hub is not named."""
    recipe = card.source.recipe
    fields: dict[str, object] = {}
    if recipe.model.name == EMBEDDED:
        fields["license"] = "apache-2.0"
    if _is_hub_name(recipe.model.name):
        fields["base_model"] = recipe.model.name
        fields["base_model_relation"] = "adapter" if card.format == "adapter" else "finetune"
    if recipe.data.source != TASKS and _is_hub_data(recipe.data.source):
        fields["datasets"] = [recipe.data.source]
    fields["library_name"] = {"adapter": "peft", "merged": "transformers", "gguf": "gguf"}[card.format]
    fields["pipeline_tag"] = "text-generation"
    methods = recipe.train.method.split("_then_")
    fields["tags"] = [*methods, "reasoning", "razona", "trl", *(["lora"] if card.source.has_adapter else [])]
    return fields


def _is_hub_data(source: str) -> bool:
    return not is_file_source(source) and not is_function_name(source)


def _is_hub_name(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).exists()


def comparison(run: RunDir, recipe: Recipe) -> str:
    """Give the run's own comparison as a table with intervals, or say that there is none."""
    if not run.summary.exists():
        return (
            "Not measured: this run has no comparison of base and tuned model, so nothing is known here about whether "
            f"it is better. To measure both on the same problems: "
            f"{coded(f'razona compare {recipe.model.name} {run.root.name}')}.\n"
        )
    summary = json.loads(run.summary.read_text(encoding="utf-8"))
    base, tuned = summary["base"], summary["tuned"]
    k = base["k"]
    rows = {"right in one try (pass@1)": "pass_at_1", f"right in {k} tries (pass@{k})": f"pass_at_{k}"}
    rows |= {"greedy decoding": "greedy", "in the form asked for": "format_rate"}
    lines = [
        f"{base['n']} problems, the same for both, with 95 % intervals:\n",
        "| | base | tuned |",
        "|---|---:|---:|",
    ]
    lines += [f"| {label} | {share(base, key)} | {share(tuned, key)} |" for label, key in rows.items() if key in base]
    return "\n".join([*lines, "", summary.get("paragraph", ""), ""])


def share(side: Mapping, key: str) -> str:
    """Write a share with its interval; a dash where it was not measured."""
    if key not in side:
        return "-"
    low, high = side["ci95"][key]
    return f"{side[key]:.1%} ({100 * low:.1f}-{100 * high:.1f})"


def fenced(language: str, text: str) -> str:
    """Put a text into a code block that it cannot end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}\n"


def _loading(card: Card) -> tuple[str, str]:
    """Give a language and a program in it that loads the export and asks it something."""
    recipe = card.source.recipe
    tokens = recipe.rollout.max_completion_tokens
    if card.format == "gguf":
        return "python", (
            "from llama_cpp import Llama  # pip install llama-cpp-python\n\n"
            f'model = Llama("{recipe.name}-{card.dtype}.gguf", n_ctx=0)  # 0: the whole context\n'
            'messages = [{"role": "user", "content": "..."}]\n'
            f"answer = model.create_chat_completion(messages, temperature=0, max_tokens={tokens})\n"
            'print(answer["choices"][0]["message"]["content"])'
        )
    imports = "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
    load = "model = AutoModelForCausalLM.from_pretrained(folder)\n"
    if card.format == "adapter":
        imports = f"from peft import PeftModel\n{imports}"
        base = json.dumps(recipe.model.name)
        if recipe.model.name == EMBEDDED:
            imports += "from razona.models.load import embedded_folder\n"
            base = "embedded_folder()"
        load = f"base = AutoModelForCausalLM.from_pretrained({base})\nmodel = PeftModel.from_pretrained(base, folder)\n"
    return "python", (
        f'{imports}\nfolder = "."  # or where this folder is\n'
        f"tokenizer = AutoTokenizer.from_pretrained(folder)\n{load}"
        'messages = [{"role": "user", "content": "..."}]\n'
        'inputs = tokenizer.apply_chat_template(\n    messages, add_generation_prompt=True, return_tensors="pt", '
        f"return_dict=True\n)\noutput = model.generate(**inputs, max_new_tokens={tokens}, do_sample=False)\n"
        'print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))'
    )


def _making(card: Card) -> str:
    source, recipe = card.source, card.source.recipe
    lora = recipe.lora
    trained = f"a LoRA adapter of rank {lora.rank}, alpha {lora.alpha:g}" if lora else "every weight"
    rows = {
        "base": _base(recipe),
        "recipe": f"`{recipe.name}`, in the run's `recipe.yaml`",
        "data": _data(source),
        "trained": f"{trained}, seed {recipe.train.seed}",
        **(_fine_tuning(recipe) if "sft" in recipe.train.method else {}),
        **(_reinforcement(source) if "grpo" in recipe.train.method else {}),
        "made with": f"Razona {razona.__version__}, on TRL, PEFT and transformers; versions are in `export.json`",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {in_cell(told)} |" for name, told in rows.items()), ""])


def _fine_tuning(recipe: Recipe) -> dict[str, str]:
    sft = recipe.sft
    return {
        "solutions": f"{SOLUTIONS[sft.source]}; of up to {sft.num_problems} problems, {sft.epochs} epochs at most, "
        f"learning rate {sft.learning_rate:g}"
    }


def _reinforcement(source: Source) -> dict[str, str]:
    recipe, steps = source.recipe, len(source.run.read_steps())
    rewards = ", ".join(
        f"{one.weight:g} for {coded(one.name)}{' where the answer is right' if one.when == 'correct' else ''}"
        for one in recipe.rewards.components
    )
    return {
        "rewards": rewards,
        "steps": f"{steps} of {recipe.train.steps}, of {recipe.train.completions_per_step} completions, learning rate "
        f"{recipe.train.learning_rate:g}",
        "weights": _kept(source.run),
    }


def _base(recipe: Recipe) -> str:
    revision = f", revision {coded(recipe.model.revision)}" if recipe.model.revision else ""
    return f"{coded(recipe.model.name)}{revision}"


def _data(source: Source) -> str:
    section, path = source.recipe.data, source.run.manifest
    if section.source == TASKS:
        told = f"problems that Razona generates, levels {', '.join(map(str, section.levels))}"
    else:
        name = Path(section.source).name if is_file_source(section.source) else section.source
        told = coded(name)
    if not path.exists():
        return told
    manifest = json.loads(path.read_text(encoding="utf-8"))
    return f"{told}; {manifest['to_sample_from']:,} problems to train on, {manifest['held_out_for_guard']:,} held out"


def _kept(run: RunDir) -> str:
    manifest = json.loads(run.manifest.read_text(encoding="utf-8")) if run.manifest.exists() else {}
    kept = manifest.get("adapter")
    if kept is None:
        return "of the last step"
    return f"of step {kept['step']} ({'the best measured' if kept['is_best'] else 'the last'}: {kept['why']})"


def _proof(card: Card) -> str:
    logits, score = card.proof["logits"], card.proof["score"]
    assert isinstance(logits, Mapping) and isinstance(score, Mapping)
    held_out = "held-out problems" if score["are_held_out"] else "problems, which it may have been trained on,"
    return (
        f"These files were loaded afresh and compared with the run's own policy. Logits at {logits['positions']} "
        f"positions differ by {logits['relative_error']:.1e} of their size (allowed: {logits['tolerance']:.1e}), and "
        f"{logits['effect_kept']:.1%} of what training changed in them is there. Decoding {score['n']} {held_out} "
        f"greedily, the run's policy solves {score['run']['value']:.1%} and these files "
        f"{score['export']['value']:.1%}; {score['same_text']} answers are the same text. This shows that the export "
        "is faithful, not how good the model is. All figures are in `export.json`.\n"
    )


def _limits(source: Source) -> str:
    recipe = source.recipe
    lines = [
        "It was trained to give answers that a program can check, on the data above, and nothing else. Other "
        "abilities of the base were not measured and may have suffered; nothing was done about safety.",
        "Its working may be wrong where its answer is right: nothing checks it.",
        _licences(recipe),
    ]
    if source.is_of_4_bits:
        lines.insert(
            0,
            "It was trained upon a base rounded to 4 bits, and is here upon the base as it is: what was measured in "
            "the run is not exactly this model.",
        )
    return "\n".join(f"- {line}" for line in lines) + "\n"


def _licences(recipe: Recipe) -> str:
    if recipe.model.name == EMBEDDED and recipe.data.source == TASKS:
        return "Licence: the base model and the generated problems come with Razona, under Apache-2.0."
    of = [f"the base model {coded(recipe.model.name)}"] if recipe.model.name != EMBEDDED else []
    of += ["the training data"] if recipe.data.source != TASKS else []
    return (
        f"Licences to check before you pass it on: {' and '.join(of)}. Razona's own licence, Apache-2.0, is that of "
        "the program and says nothing about these weights."
    )
