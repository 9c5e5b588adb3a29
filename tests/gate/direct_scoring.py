"""The gate's measurements without Beam, many times faster for a few hundred images.

That Beam and TFMA give the same numbers is tested with the component itself.
"""

import functools
from unittest import mock

import numpy as np

from components.elbo_evaluator import examples as model_ready
from components.elbo_evaluator import measure as measure_module
from components.elbo_evaluator.eval_config import CANDIDATE, CHAMPION
from components.elbo_evaluator.image_features import ImageFeatures
from components.elbo_evaluator.measurements import Comparison, Measurements
from components.elbo_evaluator.moments import Moments
from components.elbo_evaluator.scored_model import ScoredModel
from components.elbo_evaluator.statistics import STATISTICS, ElboTerms

_FIT = ImageFeatures.fit


class _NoPipeline:
    def __enter__(self):
        return None

    def __exit__(self, *_):
        return None


def measure_directly(candidate_path, champion, examples_uri, gate) -> Measurements:
    """`measure`, with every statistic computed in this process."""
    comparisons = {}

    def score_models(pipeline, paths, files, chosen, eval_config, number, batch_size, output_path):
        batch = np.concatenate(list(model_ready.batches(files, batch_size)))
        models = {name: _load(path) for name, path in paths.items()}
        scores = {name: model.score(batch) for name, model in models.items()}
        costly = models[CANDIDATE].probe(chosen, number)
        labels, chosen_labels = model_ready.labels_of(batch), model_ready.labels_of(chosen)
        pixels = models[CANDIDATE].image_format.num_pixels
        everything = _compare(scores, costly, labels == labels, chosen_labels >= -1, pixels)
        comparisons["read"] = (
            everything,
            {
                int(label): _compare(
                    scores, costly, labels == label, chosen_labels == label, pixels
                )
                for label in np.unique(labels)
            },
        )

    with (
        mock.patch.object(measure_module, "load_scored_model", _load),
        mock.patch.object(measure_module.ImageFeatures, "fit", _fit),
        mock.patch.object(measure_module, "score_models", score_models),
        mock.patch.object(measure_module, "read_comparisons", comparisons.get),
    ):
        return measure_module.measure(
            candidate_path, champion, examples_uri, "", gate, "read", _NoPipeline
        )


@functools.lru_cache(maxsize=4)
def _load(path) -> ScoredModel:
    """Keeps the champion between judgements."""
    return ScoredModel(path)


_FEATURES = {}


def _fit(images, labels) -> ImageFeatures:
    """Fits features to the same images once."""
    key = images.tobytes()
    if key not in _FEATURES:
        _FEATURES[key] = _FIT(images, labels)
    return _FEATURES[key]


def _compare(scores, costly, chosen, chosen_costly, num_pixels) -> Comparison:
    numbers = {name: _numbers(of_model, chosen, num_pixels) for name, of_model in scores.items()}
    candidate = {**numbers[CANDIDATE], **_numbers(costly, chosen_costly, num_pixels)}
    if CHAMPION in scores:
        elbos = (scores[name]["elbo"][chosen].astype(float) for name in (CANDIDATE, CHAMPION))
        gain = Moments.of(np.subtract(*elbos)[:, None])
        candidate["elbo_gain"] = gain.mean[0]
        candidate["elbo_gain_standard_error"] = gain.standard_error()[0]
    return Comparison(candidate, numbers.get(CHAMPION, {}))


def _numbers(scores, chosen, num_pixels) -> dict:
    numbers = {}
    for kind in STATISTICS.values():
        statistic = kind(num_pixels) if kind is ElboTerms else kind()
        accumulator = statistic.accumulate({name: v[chosen] for name, v in scores.items()})
        if accumulator is not None and chosen.any():
            numbers.update(statistic.numbers(accumulator))
    return numbers
