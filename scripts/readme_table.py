"""Print docs/results/demo.json as the table that the README shows."""

import json
from pathlib import Path

RESULT = Path(__file__).parent.parent / "docs" / "results" / "demo.json"
COLUMNS = ("run", "pass@1 base", "pass@1 tuned", "gain", "greedy", "form", "harder: base", "harder: tuned")


def share(side: dict, key: str) -> str:
    low, high = side["ci95"][key]
    return f"{100 * side[key]:.1f} ({100 * low:.1f}-{100 * high:.1f})"


def main() -> None:
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for name, run in result["runs"].items():
        base, tuned, ood = run["base"], run["tuned"], run["ood"]
        low, high = run["gain"]["ci95"]
        cells = (
            name,
            share(base, "pass_at_1"),
            share(tuned, "pass_at_1"),
            f"{100 * low:+.1f} to {100 * high:+.1f}",
            f"{100 * base['greedy']:.1f} to {100 * tuned['greedy']:.1f}",
            f"{100 * tuned['format_rate']:.1f}",
            share(ood["base"], "pass_at_1"),
            share(ood["tuned"], "pass_at_1"),
        )
        print(f"| {' | '.join(cells)} |")
    first = next(iter(result["runs"].values()))
    print(f"\nn = {first['tuned']['n']} problems, {first['tuned']['k']} samples each, in percent with 95 % intervals.")


if __name__ == "__main__":
    main()
