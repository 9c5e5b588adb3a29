"""Runs recipes and records what they reach in `results.json` and in the table of docs/results.md.

    python -m benchmarks.results mnist cvae_2d --manual-dir ~/mnist
    python -m benchmarks.results              # only writes the table anew

A row is one command of `tfx-vae run`, in a pipeline root of its own, so that nothing is cached.
"""

import dataclasses
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks.rows import ROWS, Row
from components.errors import InputError
from pipelines.recipe import load_recipe

_HERE = Path(__file__).parent
_MEASURED = _HERE / "results.json"
_PAGE = _HERE.parent / "docs" / "results.md"
_BEGIN, _END = "<!-- table: python -m benchmarks.results -->", "<!-- end of table -->"
_HEADER = (
    "| recipe | images | published | test ELBO | IW-K bound | seconds | options |",
    "|---|---|---|---|---|---|---|",
)


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run reached on its test split, nats per image.

    Attributes:
      images: Size and binarisation, and how many test images.
      elbo: Mean ELBO; None of an autoencoder, which has none, nor a bound or a rate.
      elbo_error: Its standard error.
      bound: Mean importance-weighted bound.
      bound_error: Its standard error.
      samples: K of the bound.
      rate: Mean rate.
      distortion: Mean distortion.
      bits: Bits per dimension, for 256 levels; else None.
      seconds: Wall time of the whole command, on an idle machine with two cores.
      bound_images: Test images that the bound is of; None for all.
    """

    images: str
    elbo: float | None
    elbo_error: float | None
    bound: float | None
    bound_error: float | None
    samples: int
    rate: float | None
    distortion: float
    bits: float | None
    seconds: float
    bound_images: int | None = None


@click.command()
@click.argument("names", nargs=-1)
@click.option("--manual-dir", help="The folder of MNIST's four files, for TFDS to use.")
@click.option("--keep", help="A folder to keep the pipeline roots in, one a row.")
@click.option("--horses-dir", help="A folder of horses_or_humans images, in place of TFDS's.")
def main(
    names: tuple[str, ...], manual_dir: str | None, horses_dir: str | None, keep: str | None
) -> None:
    """Runs the named rows, and writes the table."""
    from pipelines.quiet import set_verbosity

    set_verbosity(False)
    measured = json.loads(_MEASURED.read_text()) if _MEASURED.is_file() else {}
    for name in names:
        if name not in ROWS:
            raise click.ClickException(f"There is no row {name!r}; known: {', '.join(ROWS)}.")
        options = list(ROWS[name].options)
        if manual_dir:
            options += ["--manual-dir", manual_dir]
        if horses_dir and "horses" in ROWS[name].recipe:
            options += ["--dataset", horses_dir]
        with tempfile.TemporaryDirectory() as folder:
            root = Path(keep or folder) / name.replace(", ", "-").replace(" ", "-")
            measured[name] = dataclasses.asdict(measure(ROWS[name], options, str(root)))
        _MEASURED.write_text(json.dumps(measured, indent=2) + "\n")
    before, _, rest = _PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    lines = [_HEADER[0], _HEADER[1]] + [
        table_line(name, row, Result(**measured[name]) if name in measured else None)
        for name, row in ROWS.items()
    ]
    _PAGE.write_text("\n".join([before + _BEGIN, *lines, _END]) + after, encoding="utf-8")


def measure(row: Row, options: list[str], root: str) -> Result:
    """Runs a row's command and reads what it reached.

    Args:
      row: What to run.
      options: Of `tfx-vae run`, besides the recipe and the root.
      root: A pipeline root that is not there yet.

    Raises:
      InputError: If the command fails.
    """
    command = [sys.executable, "-m", "pipelines", "run", "--recipe", row.recipe]
    start = time.monotonic()
    done = subprocess.run([*command, *options, "--pipeline-root", root], check=False)
    seconds = time.monotonic() - start
    if done.returncode:
        raise InputError(f"{' '.join(command)} failed with status {done.returncode}.")
    return read_result(row, root, seconds)


def read_result(row: Row, root: str, seconds: float) -> Result:
    """Reads a run's scores from its pipeline root."""
    from components.model_report.numbers import bits
    from pipelines.metadata import sqlite_config
    from pipelines.summary import read_outcome

    changes = dict(text.split("=", 1) for text in row.settings)
    recipe = load_recipe(row.recipe).override(changes)
    outcome = read_outcome(sqlite_config(root), recipe.name)
    gate, scores = outcome.gate, outcome.gate.candidate
    bound_images = int(scores["importance_weighted_count"])
    return Result(
        images=f"{gate.num_examples:,}, {recipe.image_format}",
        elbo=_finite(scores["elbo"]),
        elbo_error=_finite(scores["elbo_standard_error"]),
        bound=_finite(scores["importance_weighted_bound"]),
        bound_error=_finite(scores["importance_weighted_bound_standard_error"]),
        samples=recipe.gate.importance_samples,
        rate=_finite(scores["rate"]),
        distortion=scores["distortion"],
        bits=bits(scores["elbo"], outcome.bits_over) if outcome.bits_over else None,
        seconds=seconds,
        bound_images=bound_images if bound_images < gate.num_examples else None,
    )


def table_line(name: str, row: Row, result: Result | None) -> str:
    """A row of the table."""
    options = f"`{' '.join(row.options)}`" if row.options else ""
    if result is None:
        cells = [f"`{name}`", "not measured", row.published, "", "", "", options]
    else:
        elbo, bound = f"none (distortion {_number(result.distortion)})", ""
        if result.elbo is not None:
            elbo = f"{_number(result.elbo)} ± {result.elbo_error:.2f}"
            bound = f"{_number(result.bound)} ± {result.bound_error:.2f}, K = {result.samples:,}"
            if result.bound_images is not None:
                bound += f", {result.bound_images:,} images"
        if result.bits is not None:
            elbo += f" ({result.bits:.2f} bits/dim)"
        cells = [
            f"`{name}`",
            result.images,
            row.published,
            elbo,
            bound,
            f"{result.seconds:,.0f}",
            options,
        ]
    return "| " + " | ".join(cells) + " |"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float) -> str:
    return f"{value:,.2f}".replace("-", "−")


if __name__ == "__main__":
    main()
