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

    def score_models(pipeline, paths, images, eval_config, number, batch_size, output_path):
        batch = np.concatenate(list(model_ready.batches(images.files, batch_size)))
        models = {name: _load(path) for name, path in paths.items()}
        scores = {name: model.score(batch) for name, model in models.items()}
        candidate = models[CANDIDATE]
        costly = [
            (model_ready.labels_of(images.bound), candidate.bound(images.bound, number)),
            (model_ready.labels_of(images.slopes), candidate.slopes(images.slopes)),
        ]
        labels = model_ready.labels_of(batch)
        comparisons["read"] = (
            _compare(scores, labels, costly, None, candidate.image_format.num_pixels),
            {
                int(label): _compare(
                    scores, labels, costly, label, candidate.image_format.num_pixels
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


def _compare(scores, labels, costly, label, num_pixels) -> Comparison:
    """Numbers of the images of a label, or of all."""
    chosen = _are(labels, label)
    numbers = {name: _numbers(of_model, chosen, num_pixels) for name, of_model in scores.items()}
    candidate = dict(numbers[CANDIDATE])
    for of_labels, of_candidate in costly:
        candidate |= _numbers(of_candidate, _are(of_labels, label), num_pixels)
    if CHAMPION in scores:
        elbos = (scores[name]["elbo"][chosen].astype(float) for name in (CANDIDATE, CHAMPION))
        gain = Moments.of(np.subtract(*elbos)[:, None])
        candidate["elbo_gain"] = gain.mean[0]
        candidate["elbo_gain_standard_error"] = gain.standard_error()[0]
    return Comparison(candidate, numbers.get(CHAMPION, {}))


def _are(labels, label) -> np.ndarray:
    return np.ones(len(labels), bool) if label is None else labels == label


def _numbers(scores, chosen, num_pixels) -> dict:
    numbers = {}
    for kind in STATISTICS.values():
        statistic = kind(num_pixels) if kind is ElboTerms else kind()
        accumulator = statistic.accumulate({name: v[chosen] for name, v in scores.items()})
        if accumulator is not None and chosen.any():
            numbers.update(statistic.numbers(accumulator))
    return numbers
