"""The figures over steps: which metric goes where, and what to read from it."""

from razona.report.charts import (
    SERIES_COLOURS,
    Figure,
    Line,
    Look,
    Rows,
    Words,
    areas_figure,
    lines_figure,
    read_lines,
    running_mean,
    smoothing_window,
)
from razona.report.reading import number

SHARE = Look(is_share=True)
FREE = Look()
SMALL = Look(height=110, has_step_title=False)
SMALL_SHARE = Look(height=110, has_step_title=False, is_share=True, is_whole_axis=False)


def learning_figures(steps: Rows) -> list[Figure]:
    """Give the figures of what was learnt; a figure whose metrics no step has is left out."""
    parts = sorted({name for row in steps for name in row if name.startswith("reward/")})
    components = {name: name.removeprefix("reward/") for name in parts}
    figures = [
        draw(
            "accuracy",
            Words("Right answers", "Rising accuracy is the point of the run; format alone rising is not."),
            steps,
            {"accuracy": "accuracy", "format_rate": "form asked for"},
            SHARE,
        ),
        draw(
            "reward",
            Words("Reward and its parts", "The whole should rise because correctness does, not because of the form."),
            steps,
            {"reward": "reward"} | components,
            FREE,
        ),
        draw_reward_shares(steps, components),
        draw_signal_shares(steps, components),
        draw(
            "length",
            Words(
                "Length of a completion", "Sampled tokens, on average. No length is right: watch it beside accuracy."
            ),
            steps,
            {"length": "tokens"},
            FREE,
        ),
        draw_groups(steps),
    ]
    return [figure for figure in figures if figure is not None]


def working_figures(steps: Rows) -> list[Figure]:
    """Give the figures of how the written working changes; a figure whose metrics no step has is left out."""
    figures = [
        draw(
            "worked-steps",
            Words("Worked steps in a completion", "Steps such as 3 + 4 = 7, counted in each completion, on average."),
            steps,
            {"worked_steps": "steps"},
            FREE,
        ),
        draw(
            "worked-share",
            Words(
                "Showing the work, and showing it truly",
                "Completions with at least one step, and of those the ones whose every step is true.",
            ),
            steps,
            {"worked_share": "show a step", "steps_all_true": "of those, every step true"},
            SHARE,
        ),
    ]
    return [figure for figure in figures if figure is not None]


def fine_tuning_figures(updates: Rows) -> list[Figure]:
    """Give the figure of the supervised fine-tuning; empty where there was none."""
    words = Words(
        "Loss on the solutions",
        "Mean negative log-likelihood of a token of the solutions that it is shown, in nats: how well it repeats "
        "these, not how well it finds others.",
    )
    figure = draw("sft-loss", words, updates, {"loss": "loss"}, FREE)
    return [figure] if figure else []


def machinery_figures(steps: Rows) -> list[Figure]:
    """Give the small figures of the optimizer's health; a figure whose metric no step has is left out."""
    wanted = (
        ("loss", "Loss", "It hovers near zero and does not measure progress.", SMALL),
        ("grad_norm", "Gradient norm", "Spikes mean unstable steps; zero means no signal.", SMALL),
        ("entropy", "Entropy", "Near zero, the policy no longer explores.", SMALL),
        ("kl", "KL from the reference", "How far the policy has moved.", SMALL),
        ("truncated", "Cut off at the limit", "Share of completions that ran out of tokens.", SMALL_SHARE),
        ("unverified", "Unverified", "Share that our verifiers failed on: should stay at zero.", SMALL_SHARE),
    )
    figures = [
        draw(metric.replace("_", "-"), Words(title, caption), steps, {metric: "latest"}, look)
        for metric, title, caption, look in wanted
    ]
    return [figure for figure in figures if figure is not None]


def draw(figure_id: str, words: Words, steps: Rows, wanted: dict[str, str], look: Look) -> Figure | None:
    """Give the figure of the wanted metrics, or None where no step has any of them."""
    lines = read_lines(steps, wanted)
    return lines_figure(figure_id, words, steps, lines, look) if lines else None


def draw_reward_shares(steps: Rows, components: dict[str, str]) -> Figure | None:
    """Give the stacked shares of the reward that each component pays, or None with fewer than two components.

    A step in which a component takes away, or none pays, has no shares.
    """
    parts = {name: [number(row.get(name)) for row in steps] for name in components}
    totals = []
    for paid in zip(*parts.values(), strict=True):
        known = [part for part in paid if part is not None]
        is_shared = len(known) == len(paid) and min(known) >= 0 and sum(known) > 0
        totals.append(sum(known) if is_shared else None)
    if len(parts) < 2 or not any(totals):
        return None
    window = smoothing_window(len(steps))
    lines = []
    for place, (name, paid) in enumerate(parts.items()):
        shares = [
            None if part is None or total is None else part / total for part, total in zip(paid, totals, strict=True)
        ]
        colour = SERIES_COLOURS[(place + 1) % len(SERIES_COLOURS)]  # as in the figure of the rewards
        lines.append(Line(label=components[name], colour=colour, raw=shares, mean=running_mean(shares, window)))
    words = Words("What the reward is paid for", "The share of each component. Pay for form alone should not grow.")
    return areas_figure("reward-shares", words, steps, lines)


def draw_signal_shares(steps: Rows, components: dict[str, str]) -> Figure | None:
    """Give each component's share of what the steps learn from, or None with fewer than two components."""
    wanted = {name.replace("reward/", "signal/"): label for name, label in components.items()}
    if len(wanted) < 2:
        return None
    words = Words(
        "What the steps learn from",
        "Each component's share of the variance of the advantages: one that pays all alike teaches nothing.",
    )
    return draw("signal-shares", words, steps, wanted, SHARE)


def draw_groups(steps: Rows) -> Figure | None:
    """Give the stacked shares of groups that teach and groups that do not, or None without such metrics."""
    wanted = {
        "all_right_groups": "all right",
        "informative_groups": "with signal",
        "all_wrong_groups": "all wrong",
    }
    colours = {"all right": "var(--green)", "with signal": "var(--tuned)", "all wrong": "var(--faded)"}
    lines = [
        Line(label=line.label, colour=colours[line.label], raw=line.raw, mean=line.mean)
        for line in read_lines(steps, wanted)
    ]
    if not lines:
        return None
    words = Words(
        "Groups that teach",
        "Only groups with both right and wrong answers move the policy; too few of them, and steps are wasted.",
    )
    return areas_figure("groups", words, steps, lines)


def explain_smoothing(steps: Rows) -> str:
    """Say what bold and faint lines are."""
    window = smoothing_window(len(steps))
    if window == 1:
        return "One point a step."
    return f"Faint lines are single steps, bold lines and areas the mean of the last {window} steps."
