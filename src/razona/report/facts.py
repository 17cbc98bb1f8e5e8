"""How to repeat a run: its command, commit, versions, hardware and seeds as a small table."""

import json
from html import escape

from razona.report.reading import RunRecord, entries, number, rows, text

SHOWN_PACKAGES = ("razona", "torch", "trl", "transformers")
"""All the others stand in the folded file."""


def render_facts(record: RunRecord) -> str:
    """Give what a person needs to repeat the run; empty where the environment tells none of it."""
    told = list_facts(read_environment(record.environment))
    if not told:
        return ""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="data">{write_fact(name, value)}</td></tr>'
        for name, value in told.items()
    )
    return (
        '<section id="repeat"><h2>How to repeat this run</h2>'
        f'<div class="scroll"><table class="facts-table"><tbody>{body}</tbody></table></div></section>'
    )


def read_environment(written: str) -> dict[str, object]:
    """Give the environment; an empty one where the file is absent or no JSON: it is shown folded as it stands."""
    try:
        return entries(json.loads(written)) if written.strip() else {}
    except ValueError:
        return {}


def list_facts(environment: dict[str, object]) -> dict[str, str]:
    """Give the facts that the environment states, in the order of the table."""
    packages = entries(environment, "packages")
    versions = [f"{name} {text(packages, name)}" for name in SHOWN_PACKAGES if text(packages, name)]
    python = text(environment, "python")
    seeds = [f"{name} {text(seed)}" for name, seed in entries(environment, "seeds").items()]
    processes, shards = number(environment, "processes") or 1, text(environment, "sharding")
    facts = {
        "command": text(environment, "command"),
        "processes": f"{processes:.0f}" + (f", sharding: {shards}" if shards else "") if processes > 1 else "",
        "git commit": text(environment, "git_commit"),
        "versions": ", ".join([*versions, *([f"Python {python}"] if python else [])]),
        "hardware": describe_machine(entries(environment, "hardware")),
        "seeds": ", ".join(seeds),
    }
    return {name: value for name, value in facts.items() if value}


def describe_machine(hardware: dict[str, object]) -> str:
    """Give processor, cores, memory and GPUs in one line."""
    cores, memory = number(hardware, "cores"), number(hardware, "memory_gib")
    told = [
        text(hardware, "processor"),
        "" if cores is None else f"{cores:.0f} cores",
        "" if memory is None else f"{memory:.0f} GiB of memory",
        ", ".join(text(gpu) for gpu in rows(hardware, "gpus")) or ("no GPU" if hardware else ""),
        text(hardware, "system"),
    ]
    return ", ".join(part for part in told if part)


def write_fact(name: str, value: str) -> str:
    """Give a value as HTML; what is typed or copied stands in code letters."""
    return f"<code>{escape(value)}</code>" if name in ("command", "git commit") else escape(value)
