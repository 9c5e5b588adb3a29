"""Scores, measurements and models that a test can compute by hand."""

import json

import numpy as np
import tensorflow as tf

from components.elbo_evaluator.comparability import ScoreUnit
from components.elbo_evaluator.measurements import Comparison, Measurements
from components.elbo_evaluator.sample_quality import SampleQuality
from components.elbo_evaluator.scored_model import ScoredModel
from components.image_binarizer.binarize import pack
from components.image_binarizer.image_format import ImageFormat

FORMAT = ImageFormat(28, 28, 1, "threshold")
TRAINING = {
    "likelihood": "bernoulli",
    "objective": "elbo",
    "prior": "standard_normal",
    "posterior": "diagonal",
    "free_bits": 0.0,
    "kl_weight": 1.0,
    "latent_size": 16,
}
CANDIDATE = {
    "example_count": 1000.0,
    "elbo": -100.0,
    "elbo_standard_error": 1.0,
    "rate": 25.0,
    "distortion": 75.0,
    "mse": 0.02,
    "rounded_accuracy": 0.97,
    "active_units": 16.0,
    "collapsed_share": 0.0,
    "implied_kl_weight": 1.05,
    "implied_kl_weight_standard_error": 0.01,
    "non_finite_share": 0.0,
    "elbo_gain": 2.0,
    "elbo_gain_standard_error": 0.1,
}
CHAMPION = {"example_count": 1000.0, "elbo": -102.0, "rate": 24.0, "collapsed_share": 0.0}


def samples(**changes) -> SampleQuality:
    """Good samples of ten classes."""
    shares = dict.fromkeys(range(10), 0.1)
    values = {
        "frechet": 1.0,
        "frechet_of_independent_pixels": 10.0,
        "precision": 0.8,
        "recall": 0.8,
        "density": 0.9,
        "coverage": 0.85,
        "class_shares": shares,
        "real_class_shares": shares,
        "missing_classes": (),
        "num_images": 1000,
    }
    return SampleQuality(**{**values, **changes})


def of_label(gain=2.0, error=0.5, elbo=-100.0, elbo_error=1.0, count=100.0) -> Comparison:
    """The images of one label."""
    candidate = {
        **CANDIDATE,
        "example_count": count,
        "elbo": elbo,
        "elbo_standard_error": elbo_error,
        "elbo_gain": gain,
        "elbo_gain_standard_error": error,
    }
    return Comparison(candidate, {**CHAMPION, "elbo": elbo - gain})


def measured(candidate=None, training=None, **changes) -> Measurements:
    """A healthy candidate with a registered champion, but for the changes."""
    training = {**TRAINING, **(training or {})}
    values = {
        "image_format": FORMAT,
        "mean_image_mse": 0.07,
        "overall": Comparison({**CANDIDATE, **(candidate or {})}, CHAMPION),
        "by_label": {0: of_label(), 1: of_label(elbo=-120.0)},
        "samples": samples(),
        "training_images": samples(frechet=0.1, coverage=0.97),
        "training": training,
        "unit": ScoreUnit(FORMAT, training["likelihood"], "mnist"),
        "champion_unit": ScoreUnit(FORMAT, training["likelihood"], "mnist"),
        "champion": "registered champion, version 3",
        "is_first": False,
    }
    return Measurements(**{**values, **changes})


def random_scores(count, seed=0, size=3) -> dict[str, np.ndarray]:
    """Everything that a model says of n images, as float32."""
    random = np.random.default_rng(seed)
    mean = random.normal(0.3, 1.0, (count, size)) * np.linspace(0.05, 1.5, size)
    variance = random.uniform(0.1, 0.9, (count, size))
    rate = 0.5 * (mean**2 + variance - 1.0 - np.log(variance)).sum(axis=1)
    distortion = random.normal(90.0, 9.0, count)
    scores = {
        "elbo": -distortion - rate,
        "distortion": distortion,
        "rate": rate,
        "squared_error": random.uniform(0.0, 0.1, count),
        "rounded_accuracy": random.uniform(0.9, 1.0, count),
        "code": mean + np.sqrt(variance) * random.normal(size=mean.shape),
        "posterior_mean": mean,
        "posterior_variance": variance,
        "importance_weighted_bound": -distortion - rate + 3.0,
        "distortion_slope": random.normal(40.0, 5.0, count),
        "rate_slope": random.normal(-30.0, 5.0, count),
    }
    return {name: values.astype(np.float32) for name, values in scores.items()}


class InMemoryModel(ScoredModel):
    """A model whose signatures are called without saving it; some may be altered."""

    def __init__(self, exported, **altered):
        """Takes an ExportedVae, and functions of a signature's outputs by signature name."""
        self.path = "/models/in_memory"
        self.signatures = exported.signatures()
        self._altered = altered
        self.card = json.loads(super().call("describe")["card"])
        self.image_format = ImageFormat(**self.card["image_format"])

    def call(self, signature, **inputs):
        outputs = super().call(signature, **inputs)
        return self._altered.get(signature, lambda values: values)(outputs)

    def altered(self, **functions):
        """The same model with other outputs."""
        other = object.__new__(type(self))
        other.__dict__ = {**self.__dict__, "_altered": functions}
        return other


def examples_of(pixels, image_format, labels=None) -> np.ndarray:
    """Serialized Examples of stored pixels [N, H, W, C], object array [N]."""
    records = []
    for i, stored in enumerate(pack(pixels, image_format)):
        feature = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[stored]))}
        if labels is not None:
            values = tf.train.Int64List(value=[int(labels[i])])
            feature["label"] = tf.train.Feature(int64_list=values)
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        records.append(example.SerializeToString(deterministic=True))
    return np.array(records, object)
