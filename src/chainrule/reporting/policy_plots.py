"""The learning-rate policies drawn, and as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chainrule.core.task import Figure
from chainrule.optim import policies
from chainrule.reporting.activation_tables import write_topic
from chainrule.reporting.plots import COLOURS, curves, drawing, new_figure, tidy_axes

LAST = 1000  # iterations that are shown

# One of each, with settings that show its shape, and its formula.
EXAMPLES: tuple[tuple[policies.Policy, str], ...] = (
    (policies.fixed(0.1), "base_lr"),
    (policies.step(0.1, 0.5, 300), "base_lr gamma^floor(t / stepsize)"),
    (policies.multistep(0.1, 0.3, [400, 700, 900]), "base_lr gamma^(step values at most t)"),
    (policies.exp(0.1, 0.997), "base_lr gamma^t"),
    (policies.inv(0.1, 0.01, 0.75), "base_lr (1 + gamma t)^-power"),
    (policies.poly(0.1, 0.5, LAST), "base_lr (1 - t / max_iter)^power"),
    (policies.poly(0.1, 2.0, LAST), "base_lr (1 - t / max_iter)^power"),
    (policies.sigmoid(0.1, -0.015, 500), "base_lr / (1 + exp(-gamma (t - stepsize)))"),
    (policies.sigmoid(0.1, 0.015, 500), "base_lr / (1 + exp(-gamma (t - stepsize)))"),
    (policies.cosine(0.1, LAST), "min_lr + (base_lr - min_lr) (1 + cos(pi t / max_iter)) / 2"),
    (policies.warmup(200, then=policies.cosine(0.1, LAST - 200)), "a straight rise, then another policy"),
    (
        policies.sequence(
            (policies.fixed(0.1), 300), (policies.cosine(0.1, 400, 0.01), 400), last=policies.fixed(0.01)
        ),
        "one policy after another",
    ),
)


def policies_table() -> list[list[str]]:
    """A header, then a row a policy: the call, its formula, the rate at the start, the middle and the end.

    >>> policies_table()[1]
    ['fixed(base_lr=0.1)', 'base_lr', '0.1', '0.1', '0.1']
    """
    header = ["policy", "rate at iteration t", "t = 0", f"t = {LAST // 2}", f"t = {LAST}"]
    rows = [[str(policy), formula, *(f"{policy(t):.3g}" for t in (0, LAST // 2, LAST))] for policy, formula in EXAMPLES]
    return [header, *rows]


def policies_canvas() -> Any:
    """All policies over the same iterations, a small plot each, as a Matplotlib figure."""
    with drawing("policies"):
        canvas = new_figure(9.6, 7.6)
        panels = canvas.subplots(4, 3, sharex=True, sharey=True)
        for index, (panel, (policy, _)) in enumerate(zip(panels.flat, EXAMPLES, strict=True)):
            times = range(LAST + 1)
            panel.plot(times, [policy(t) for t in times], color=COLOURS[index % len(COLOURS)], linewidth=1.8)
            panel.set_title(_wrapped(str(policy)), fontsize=7.5, color="#374151", loc="left")
            panel.set_ylim(-0.004, 0.108)
            tidy_axes(panel)
        canvas.supxlabel("iteration", color="#4b5563", fontsize=9)
        canvas.supylabel("learning rate", color="#4b5563", fontsize=9)
        return canvas


def write_policies(out: str | Path) -> Path:
    """Writes the figures of all policies to a file: .html (with the table), .svg or .png."""
    caption = "Each starts from a base rate of 0.1; above each plot stands the call that makes it."
    return write_topic(
        out, "Learning-rate policies", policies_canvas(), "Rate over iterations", caption, policies_table()
    )


def policy_curve(policy: policies.Policy, iterations: int) -> Figure:
    """The user's own policy over its first iterations."""
    times = range(iterations)
    return curves({str(policy): (times, [policy(t) for t in times])}, "Learning rate", "iteration")


def _wrapped(text: str, width: int = 52) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))
