"""Charts as PNG, one for light mode and one for dark."""

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from components.model_report.numbers import LatentUsage, nats
from components.model_report.pictures import Picture, png_uri

# Text and axes, first colour, second colour.
_LIGHT = ("#3b4048", "#1f6fb4", "#d06a0c")
_DARK = ("#c3c8d0", "#6cb2f0", "#f2a154")
_DPI = 200
# Left, right, bottom and top, in inches.
_MARGINS = (0.58, 0.08, 0.45, 0.3)
_CSS_PIXELS_PER_INCH = 100
_MAX_TICK_LABELS = 40


def line_chart(
    title: str,
    epochs: Sequence[int],
    lines: Mapping[str, Sequence[float]],
    marked_epoch: int | None,
) -> Picture:
    """Curves over epochs; the axis is fitted to what follows the first tenth of them.

    Args:
      title: What is drawn.
      epochs: Epoch numbers.
      lines: Name to one number an epoch; NaN leaves a gap.
      marked_epoch: Where a vertical line goes.
    """

    def draw(axes, ink: str, colours: Sequence[str]) -> None:
        from matplotlib.ticker import MaxNLocator

        for (name, values), colour in zip(lines.items(), colours, strict=True):
            axes.plot(epochs, values, color=colour, label=name, marker=".", markersize=3)
        settled = np.array([values[len(epochs) // 10 :] for values in lines.values()], float)
        settled = settled[np.isfinite(settled)]
        if settled.size:
            low, high = settled.min(), settled.max()
            margin = 0.06 * (high - low) or 1.0
            axes.set_ylim(low - margin, high + margin)
            axes.legend(frameon=False, labelcolor=ink, fontsize=8)
        else:
            axes.set_yticks([])
            axes.text(0.5, 0.5, "no finite value", color=ink, ha="center", transform=axes.transAxes)
        if marked_epoch is not None:
            axes.axvline(marked_epoch, color=ink, linewidth=0.8, linestyle=":")
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch", color=ink, fontsize=8)
        axes.set_title(f"{title}, nats per image", color=ink, fontsize=9, loc="left")

    ends = "; ".join(f"{name} ends at {nats(values[-1])}" for name, values in lines.items())
    return _chart(draw, (3.2, 2.4), f"{title} over {len(epochs)} epochs: {ends}.")


def usage_chart(usage: LatentUsage) -> Picture:
    """Bars of the rate per latent dimension, largest first, active ones in another colour."""
    finite = np.isfinite(usage.rates)
    order = np.argsort(-np.where(finite, usage.rates, -np.inf), kind="stable")

    def draw(axes, ink: str, colours: Sequence[str]) -> None:
        heights = np.where(finite, usage.rates, 0.0)[order]
        filling = [colours[0] if usage.active[index] else colours[1] for index in order]
        axes.bar(range(len(order)), heights, color=filling)
        if len(order) <= _MAX_TICK_LABELS:
            axes.set_xticks(range(len(order)), [str(index) for index in order])
        else:
            axes.set_xticks([])
        for place, index in enumerate(order):
            if not finite[index]:
                text = nats(usage.rates[index])
                axes.text(place, 0, text, color=ink, ha="center", va="bottom", fontsize=7)
        if not finite.any():
            axes.set_ylim(0.0, 1.0)
        axes.set_xlabel("latent dimension, largest rate first", color=ink, fontsize=8)
        axes.set_title("rate, nats per image", color=ink, fontsize=9, loc="left")

    rates = ", ".join(f"{index}: {nats(usage.rates[index])}" for index in order)
    return _chart(draw, (9.1, 2.4), f"Rate of each latent dimension, largest first: {rates}.")


def _chart(draw: Callable[..., None], size: tuple[float, float], alt: str) -> Picture:
    light, dark = (_png(draw, size, ink, colours) for ink, *colours in (_LIGHT, _DARK))
    return Picture(
        src=png_uri(light),
        width=round(size[0] * _CSS_PIXELS_PER_INCH),
        height=round(size[1] * _CSS_PIXELS_PER_INCH),
        alt=alt,
        dark_src=png_uri(dark),
    )


def _png(
    draw: Callable[..., None], size: tuple[float, float], ink: str, colours: Sequence[str]
) -> bytes:
    # A Figure of its own, because pyplot keeps global state and may look for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    # Margins by hand: matplotlib's own layout draws every chart twice.
    left, right, bottom, top = (inches / size[i // 2] for i, inches in enumerate(_MARGINS))
    axes = figure.add_axes((left, bottom, 1.0 - left - right, 1.0 - bottom - top))
    axes.patch.set_alpha(0.0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(ink)
    axes.tick_params(colors=ink, labelsize=8)
    axes.grid(axis="y", color=ink, alpha=0.15, linewidth=0.6)
    axes.set_axisbelow(True)
    draw(axes, ink, colours)
    file = io.BytesIO()
    # Without the version in the file, equal charts are equal bytes.
    figure.savefig(file, format="png", dpi=_DPI, transparent=True, metadata={"Software": None})
    return file.getvalue()
