"""What a sweep ends with: a table, the same as CSV, and a plot."""

import csv
import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from components.model_report.numbers import nats
from components.tuner.trials import TrialResult

_LATENT = "latent_size"
_CSV, _PLOT = "sweep.csv", "sweep.png"


@dataclasses.dataclass(frozen=True)
class Row:
    """A trial.

    Attributes:
      values: Searched field to its value.
      result: Scores, or why there are none.
      folder: Where its model is.
    """

    values: Mapping[str, int | float]
    result: TrialResult
    folder: str


def report_sweep(console: Console, rows: Sequence[Row], root: str, scored_on: str) -> None:
    """Prints the table, writes `sweep.csv` and `sweep.png`, and says where they are.

    Args:
      console: Where to print.
      rows: A trial each; one at least has scores.
      root: The folder for the files. Those of an earlier sweep are replaced: its trials are kept,
        so that it takes seconds to run it again.
      scored_on: Describes the images behind the scores.
    """
    best = max((row for row in rows if not row.result.failure), key=lambda row: row.result.elbo)
    console.print()
    console.print(_table(rows, best))
    console.print(f"nats per image at KL weight 1, on {scored_on}", highlight=False)
    for row in rows:
        if row.result.failure:
            console.print(
                f"[bold red]Failed[/]: {_described(row.values)}: {row.result.failure}",
                soft_wrap=True,
                highlight=False,
            )
    csv_path, plot_path = (os.path.join(root, name) for name in (_CSV, _PLOT))
    _write_csv(rows, best, csv_path)
    write_plot(rows, best, plot_path, scored_on)
    console.print()
    console.print(f"[bold green]Best *[/]: {_described(best.values)}", highlight=False)
    for name, path in (
        ("Model", os.path.join(best.folder, "model")),
        ("Plot", plot_path),
        ("Table", csv_path),
    ):
        console.print(f"{name + ':':<7} {path}", soft_wrap=True, highlight=False)


def _table(rows: Sequence[Row], best: Row) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for field in rows[0].values:
        width = max(len(_text(row.values[field])) for row in rows)
        # Rich breaks a narrow header between words alone.
        table.add_column(field.replace("_", " "), justify="right", min_width=width)
    for column in ("epoch", "ELBO", "rate", "distortion", "active", "seconds", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        values = [_text(value) for value in row.values.values()]
        result = row.result
        if result.failure:
            table.add_row(*values, "", "failed", "", "", "", f"{result.seconds:.1f}", "")
            continue
        table.add_row(
            *values,
            f"{result.best_epoch}/{result.epochs}",
            f"{nats(result.elbo)} ± {nats(result.elbo_standard_error)}",
            nats(result.rate),
            nats(result.distortion),
            str(result.active_units),
            f"{result.seconds:.1f}",
            "*" if row is best else "",
            style="bold" if row is best else None,
        )
    return table


def _write_csv(rows: Sequence[Row], best: Row, path: str) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        results = [dataclasses.asdict(row.result) for row in rows]
        writer = csv.DictWriter(file, [*rows[0].values, "best", *results[0], "folder"])
        writer.writeheader()
        for row, result in zip(rows, results, strict=True):
            best_mark = int(row is best)
            writer.writerow({**row.values, "best": best_mark, **result, "folder": row.folder})


def write_plot(rows: Sequence[Row], best: Row, path: str, scored_on: str) -> None:
    """Draws ELBO, rate and distortion over the latent size, a line for each other combination.

    Args:
      rows: A trial each; those without scores leave a gap.
      best: The row to ring.
      path: Of the PNG.
      scored_on: Describes the images behind the scores.
    """
    import matplotlib

    # Figures of their own, because pyplot keeps global state and may look for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    lines: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.values[_LATENT]):
        others = {name: value for name, value in row.values.items() if name != _LATENT}
        lines.setdefault(_described(others), []).append(row)
    figure = Figure(figsize=(7.0, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    # The map's last tenth is too light on white.
    colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, len(lines)))
    for (label, trials), colour in zip(lines.items(), colours, strict=True):
        sizes = [row.values[_LATENT] for row in trials]
        scores = {
            name: np.array([getattr(row.result, name) for row in trials], float)
            for name in ("elbo", "elbo_standard_error", "rate", "distortion")
        }
        top.errorbar(
            sizes,
            scores["elbo"],
            scores["elbo_standard_error"],
            color=colour,
            label=label,
            marker="o",
            markersize=4,
            capsize=3,
        )
        for name, style in (("rate", "--"), ("distortion", "-")):
            label = name if trials is next(iter(lines.values())) else None
            bottom.plot(
                sizes, scores[name], style, color=colour, label=label, marker="o", markersize=4
            )
    ring = {"s": 130, "facecolors": "none", "edgecolors": "#d06a0c", "linewidths": 2, "zorder": 5}
    top.scatter([best.values[_LATENT]], [best.result.elbo], **ring, label="best")
    top.set_title(f"ELBO ± standard error, nats per image\n{scored_on}", fontsize=10, loc="left")
    bottom.set_title("rate and distortion, nats per image", fontsize=10, loc="left")
    for axes in (top, bottom):
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    bottom.set_xscale("log")
    ticks = sorted({row.values[_LATENT] for row in rows})
    bottom.set_xticks(ticks, [str(size) for size in ticks])
    bottom.xaxis.set_minor_locator(NullLocator())
    bottom.set_xlabel("latent dimensions")
    figure.savefig(path, dpi=150, metadata={"Software": None})


def _described(values: Mapping[str, int | float]) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in values.items())


def _text(value: int | float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
