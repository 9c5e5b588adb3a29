"""How long the gate takes: `python -m benchmarks.gate PIPELINE_ROOT`, on a finished run.

Prints, in one run: seconds to score candidate and champion with one code an image, through Beam and
TFMA; and codes a second of the importance-weighted bound, as a share of what the decoder alone can
decode in this process.
"""

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import numpy as np

from components.elbo_evaluator import examples as model_ready
from components.elbo_evaluator.eval_config import CANDIDATE, CHAMPION, build_eval_config
from components.elbo_evaluator.scored_model import load_scored_model
from components.elbo_evaluator.scoring import Images, score_models

_CODES, _IMAGES, _BATCH, _ROUNDS = 64, 256, 512, 5


@dataclasses.dataclass(frozen=True)
class Timings:
    """What was measured.

    Attributes:
      scoring_seconds: Of both models on every test image.
      num_images: Test images.
      bound_rate: Codes a second, of the bound.
      decoder_rate: Codes a second, decoded alone.
    """

    scoring_seconds: float
    num_images: int
    bound_rate: float
    decoder_rate: float


def measure_gate(root: Path) -> Timings:
    """Times the gate's costly parts.

    Args:
      root: A pipeline root with a finished run.
    """
    artifacts = root / "artifacts"
    examples = _newest(artifacts / "ImageBinarizer" / "model_ready_examples")
    candidate = _newest(artifacts / "Trainer" / "model") / "Format-Serving"
    champion = _newest(artifacts / "ChampionResolver" / "champion") / "Format-Serving"
    files = model_ready.split_files(str(examples), "test")
    # Held, so that the scoring finds them loaded, as in the component.
    model, beaten = load_scored_model(str(candidate)), load_scored_model(str(champion))
    with tempfile.TemporaryDirectory() as output:
        start = time.perf_counter()
        with beam.Pipeline() as pipeline:
            score_models(
                pipeline,
                {CANDIDATE: model.path, CHAMPION: beaten.path},
                Images(files, np.empty(0, object), np.empty(0, object)),
                build_eval_config(model.image_format.num_pixels),
                1,
                _BATCH,
                output,
            )
        scoring = time.perf_counter() - start
    chosen = model_ready.choose(files, _IMAGES)
    size = model.score(chosen[:1])["code"].shape[1]
    codes = np.random.default_rng(0).normal(size=(_IMAGES * _CODES // 16, size))
    codes = codes.astype(np.float32)
    bound, decode = _interleaved(
        lambda: model.call("importance_weighted_bound", examples=chosen, number=np.int64(_CODES)),
        lambda: [model.call("decode", z=codes) for _ in range(16)],
    )
    total = _IMAGES * _CODES
    count = sum(len(batch) for batch in model_ready.batches(files, 4096))
    return Timings(scoring, count, total / bound, total / decode)


def _newest(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: int(path.name))


def _interleaved(*calls: Callable[[], object]) -> list[float]:
    """Median seconds of each call, in turns, so that a busy machine slows all alike."""
    seconds = [[] for _ in calls]
    for _ in range(_ROUNDS + 1):
        for call, taken in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    # The first round compiles.
    return [float(np.median(taken[1:])) for taken in seconds]


def main() -> None:
    """Prints the timings of a run."""
    timings = measure_gate(Path(sys.argv[1]))
    print(f"scoring both models, one code an image: {timings.scoring_seconds:.1f} s", end=" ")
    print(f"for {timings.num_images:,} images")
    print(f"importance-weighted bound: {timings.bound_rate:,.0f} codes/s", end=", ")
    print(f"{timings.bound_rate / timings.decoder_rate:.0%} of the decoder's", end=" ")
    print(f"{timings.decoder_rate:,.0f}")


if __name__ == "__main__":
    main()
