"""Print one group of one stored step as docs/grpo.md tells it: rewards, mean, spread, advantages.

python scripts/explain_step.py runs/demo 1
"""

import statistics
import sys
from pathlib import Path

from razona.core.files import read_jsonl
from razona.core.rundir import RunDir


def main() -> None:
    run, step = RunDir(Path(sys.argv[1])), int(sys.argv[2])
    rows = list(read_jsonl(run.completions(step)))
    groups: dict[int, list[dict]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    spread = {number: len({row["reward"] for row in group}) for number, group in groups.items()}
    flat = sum(count == 1 for count in spread.values())
    chosen = max(spread, key=lambda number: (spread[number], -number))
    group = groups[chosen]
    rewards = [row["reward"] for row in group]
    mean, deviation = statistics.mean(rewards), statistics.stdev(rewards)
    print(f"step {step}: {len(groups)} groups of {len(group)}, {flat} of them flat; group {chosen}")
    print(f"question: {group[0]['question']}\ntarget: {group[0]['target']}")
    print(f"mean {mean:.4f}, standard deviation {deviation:.4f}\n")
    print("| completion | answer | reward | advantage | by hand |\n|---|---|---|---|---|")
    for row in group:
        by_hand = (row["reward"] - mean) / (deviation + 1e-4)
        text = row["completion"].replace("\n", " ").replace("|", "\\|")
        print(f"| `{text}` | {row['answer']} | {row['reward']:.1f} | {row['advantage']:+.3f} | {by_hand:+.3f} |")


if __name__ == "__main__":
    main()
