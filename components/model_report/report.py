"""Puts the page of a run together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from components.elbo_evaluator.results import GateResult
from components.image_binarizer.image_format import ImageFormat
from components.model_report.charts import line_chart, usage_chart
from components.model_report.history import MEASURES, History
from components.model_report.numbers import (
    bits_per_dimension,
    difference,
    has_bits,
    nats,
    rule_cells,
    score,
    verdict,
)
from components.model_report.page import render
from components.model_report.pictures import Picture, tiles
from components.model_report.probes import (
    INTERPOLATION_STEPS,
    MANIFOLD_SIDE,
    NUM_PRIOR_SAMPLES,
    NUM_SHOWN,
    PRIOR_SEED,
    Probes,
    probe,
)

# Of the page's column, in CSS pixels; page.html sets it.
_FULL_WIDTH = 960
_HALF_WIDTH = 472
_SCORES = ("elbo", "rate", "distortion", "importance_weighted_bound")
_TITLES = {"elbo": "ELBO", "rate": "Rate", "distortion": "Distortion"}


def build_report(
    recipe: Mapping[str, Any],
    image_format: ImageFormat,
    gate: GateResult,
    blessed: bool,
    champion: str,
    history: History,
    model: Any,
    test_examples: Sequence[bytes],
) -> str:
    """The page of a run.

    Args:
      recipe: The recipe as plain data.
      image_format: What the Examples hold.
      gate: ElboEvaluator's numbers.
      blessed: The verdict in its blessing.
      champion: What kind of model the candidate was compared with.
      history: The training's numbers.
      model: The candidate, a loaded SavedModel.
      test_examples: Serialized model-ready test Examples.

    Returns:
      One HTML document that refers to nothing outside itself; the same for the same arguments.

    Raises:
      InputError: If the model lacks a signature.
    """
    probes = probe(model, test_examples, image_format)
    shows_bits = has_bits(recipe["training"]["likelihood"])
    return render(
        recipe=recipe,
        image_format=image_format,
        blessed=blessed,
        bless_anyway=gate.bless_anyway,
        reasons=gate.failures,
        diagnosis=gate.diagnosis,
        gate=gate,
        rule_rows=[(rule, rule_cells(rule), verdict(rule)) for rule in gate.rules],
        bound_count=_bound_count(gate),
        num_examples=gate.num_examples,
        score_rows=_score_rows(gate, champion, image_format.num_pixels if shows_bits else None),
        shows_bits=shows_bits,
        label_rows=_label_rows(gate),
        history=history,
        history_rows=_history_rows(history),
        history_charts=_history_charts(history),
        reconstructions=_reconstructions(probes),
        prior=_prior(probes),
        prior_seed=PRIOR_SEED,
        red_pixels=not np.isfinite(probes.prior["mean"]).all(),
        manifold=_manifold(probes),
        interpolations=_interpolations(probes),
        usage=probes.usage,
        usage_total=nats(probes.usage.rates.sum()) if probes.usage else "",
        usage_chart=usage_chart(probes.usage) if probes.usage else None,
        recipe_yaml=yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True),
    )


def _bound_count(gate: GateResult) -> str:
    count = gate.candidate.get("importance_weighted_count")
    return "" if count is None else f"{int(count):,}"


def _score_rows(
    gate: GateResult, champion: str, bits_over: int | None
) -> list[tuple[str, list[str]]]:
    """Scores of both models and their difference; bits per dimension over that many values."""
    models = {"candidate": gate.candidate, f"champion ({champion})": gate.champion}
    rows = [
        (name, [score(values, key) if key in values else "" for key in _SCORES])
        for name, values in models.items()
    ]
    rows.append(("difference", [difference(gate.candidate), "", "", ""]))
    if bits_over:
        for (_, row), values in zip(rows, (*models.values(), None), strict=True):
            row.append(bits_per_dimension(values, bits_over) if values is not None else "")
    return rows


def _label_rows(gate: GateResult) -> list[tuple[int, str, str, str]]:
    """Label, count, ELBO and its gain over the champion's; images without a label have -1."""
    return [
        (
            label,
            f"{int(compared.candidate.get('example_count', 0)):,}",
            score(compared.candidate, "elbo"),
            difference(compared.candidate),
        )
        for label, compared in gate.by_label.items()
        if label >= 0 and compared.candidate.get("example_count")
    ]


def _history_rows(history: History) -> list[tuple[int, list[str]]]:
    rows = []
    for index, epoch in enumerate(history.epochs):
        values = [history.values[name][index] for name in history.values]
        missing = epoch in history.missing
        rows.append((epoch, [nats(None if missing else value) for value in values]))
    return rows


def _history_charts(history: History) -> list[Picture]:
    if not history.epochs:
        return []
    return [
        line_chart(
            _TITLES[measure],
            history.epochs,
            {
                "training": history.values[measure],
                "validation": history.values[f"val_{measure}"],
            },
            history.best_epoch,
        )
        for measure in MEASURES
    ]


def _reconstructions(probes: Probes) -> list[Picture]:
    """Two blocks, side by side on a wide page and one above the other on a narrow one."""
    if probes.images is None:
        return []
    pictures, half = [], NUM_SHOWN // 2
    rows = (probes.images, probes.reconstructions["mean"], probes.reconstructions["mode"])
    for start in range(0, len(probes.images), half):
        block = [row[start : start + half] for row in rows]
        columns = len(block[0])
        alt = f"{columns} test images above the means and modes of their reconstructions."
        pictures.append(tiles(np.concatenate(block), columns, alt, _HALF_WIDTH))
    return pictures


def _prior(probes: Probes) -> list[tuple[str, Picture]]:
    side = round(NUM_PRIOR_SAMPLES**0.5)
    return [
        (kind, tiles(probes.prior[kind], side, f"{side} by {side} {kind}s.", _HALF_WIDTH))
        for kind in ("mean", "sample")
    ]


def _manifold(probes: Probes) -> Picture | None:
    if probes.manifold is None:
        return None
    alt = f"{MANIFOLD_SIDE} by {MANIFOLD_SIDE} means of codes on a grid of the latent plane."
    return tiles(probes.manifold, MANIFOLD_SIDE, alt, _FULL_WIDTH)


def _interpolations(probes: Probes) -> Picture | None:
    if probes.interpolations is None:
        return None
    columns = INTERPOLATION_STEPS + 2
    rows = len(probes.interpolations) // columns
    alt = f"{rows} rows of {columns} images: a test image, {columns - 2} means, a test image."
    return tiles(probes.interpolations, columns, alt, _FULL_WIDTH)
