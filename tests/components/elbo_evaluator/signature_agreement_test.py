import numpy as np
import pytest
import tensorflow as tf

from components.elbo_evaluator import examples as model_ready
from components.elbo_evaluator.agreement import disagreements
from components.errors import InputError
from components.image_binarizer.image_format import ImageFormat
from components.trainer.export import ExportedVae
from tests.components.elbo_evaluator.made_up import InMemoryModel, examples_of
from tests.components.trainer.tiny_models import COLOUR, GREY, GREY_LEVELS, tiny_config, tiny_model

_NAMES = {
    "elbo": "ELBO and -(distortion + rate)",
    "error": "the squared errors of evaluate and of decode",
    "mean": "the posterior means of evaluate and of encode",
    "variance": "the posterior variances of evaluate and of encode",
    "reconstruct": "reconstruct and decode at the posterior mean",
    "generate": "generate and decode at the same codes",
    "distortion": "the distortion and the cross-entropy of what decode gives",
    "rate": "the rate and the KL divergence of the posteriors",
}


def _exported(image_format=GREY, **changes):
    config = tiny_config(**changes)
    return ExportedVae(tiny_model(config, image_format), config, image_format)


def _disagreements(model, count=20):
    """Short names of what differs, on random images."""
    random = np.random.default_rng(0)
    top = 2 if model.image_format.encoding == "bits" else 256
    pixels = random.integers(0, top, (count, *model.image_format.shape)).astype(np.uint8)
    examples = examples_of(pixels, model.image_format)
    images = model_ready.images_of(examples, model.image_format)
    lines = disagreements(model, examples, images)
    found = [name for name, text in _NAMES.items() for line in lines if line.startswith(text)]
    assert len(found) == len(lines)
    assert all(" differ: " in line for line in lines)
    return set(found)


@pytest.fixture(scope="module")
def healthy():
    return InMemoryModel(_exported())


@pytest.mark.parametrize(
    ("image_format", "changes"),
    [
        (GREY, {}),
        (COLOUR, {"posterior": "full_covariance"}),
        (ImageFormat(5, 4, 1, "dynamic"), {"prior": "mixture", "rate_estimator": "monte_carlo"}),
        (GREY, {"prior": "vamp", "rate_estimator": "monte_carlo"}),
        (GREY, {"training_samples": 5, "objective": "importance_weighted"}),
        (GREY, {"kl_weight": 4.0}),
        (GREY, {"posterior": "point", "kl_weight": 0.0}),
        (GREY_LEVELS, {"likelihood": "gaussian_learned_scale"}),
        (GREY_LEVELS, {"likelihood": "discretized_logistic"}),
    ],
)
def test_the_signatures_of_an_exported_model_agree(image_format, changes):
    assert _disagreements(InMemoryModel(_exported(image_format, **changes))) == set()


def _mean(function):
    return lambda outputs: {**outputs, "mean": function(outputs["mean"])}


def _scores(**functions):
    return lambda outputs: {
        **outputs,
        **{name: function(outputs[name]) for name, function in functions.items()},
    }


def _inverted(mean):
    return 1.0 - mean


def _permuted(mean):
    return mean[:, ::-1]


def _average(values):
    return values / GREY.num_pixels


def _nan(values):
    return np.full_like(values, np.nan)


_OF_DECODE = {"error", "distortion", "reconstruct", "generate"}


@pytest.mark.parametrize(
    ("altered", "expected"),
    [
        ({"decode": _mean(_inverted)}, _OF_DECODE),
        ({"decode": _mean(_permuted)}, _OF_DECODE),
        ({"decode": _mean(_nan)}, _OF_DECODE),
        (
            dict.fromkeys(("decode", "generate", "reconstruct"), _mean(_inverted)),
            {"error", "distortion"},
        ),
        ({"generate": _mean(_inverted)}, {"generate"}),
        ({"reconstruct": _mean(lambda mean: 0.9 * mean)}, {"reconstruct"}),
        ({"encode": _mean(lambda mean: mean + 0.1)}, {"mean", "reconstruct"}),
        ({"encode": _scores(variance=np.sqrt)}, {"variance"}),
        ({"evaluate": _scores(elbo=_average)}, {"elbo"}),
        (
            {"evaluate": _scores(elbo=_average, distortion=_average, rate=_average)},
            {"distortion", "rate"},
        ),
        ({"evaluate": _scores(elbo=lambda elbo: elbo + 50)}, {"elbo"}),
        (
            {"evaluate": _scores(elbo=lambda e: e + 50, distortion=lambda d: d - 50)},
            {"distortion"},
        ),
        ({"evaluate": _scores(rate=lambda rate: 0 * rate)}, {"elbo", "rate"}),
        ({"evaluate": _scores(posterior_variance=_nan)}, {"variance", "rate"}),
        # One image in twenty is enough.
        (
            {"evaluate": _scores(rate=lambda rate: rate + 9 * (rate == rate.max()))},
            {"elbo", "rate"},
        ),
        # Nothing that can be told apart.
        ({"evaluate": _scores(elbo=lambda elbo: elbo * (1 + 1e-5))}, set()),
    ],
)
def test_what_does_not_agree_is_named(healthy, altered, expected):
    assert _disagreements(healthy.altered(**altered)) == expected


def test_a_decoder_of_other_weights(healthy):
    other = _exported(activation="relu").signatures()
    model = healthy.altered()
    model.signatures = {**model.signatures, "decode": other["decode"]}
    assert _disagreements(model) == _OF_DECODE
    model.signatures |= {"generate": other["generate"], "reconstruct": other["reconstruct"]}
    # Each of them is of one decoder, but it is not the one that was scored.
    assert {"error", "distortion"} <= _disagreements(model)


def test_values_that_are_finite_on_neither_side_are_left_to_other_rules(healthy):
    nan = dict.fromkeys(("elbo", "distortion", "rate", "squared_error"), _nan)
    everything = dict.fromkeys(("decode", "generate", "reconstruct"), _mean(_nan))
    model = healthy.altered(evaluate=_scores(**nan), **everything)
    assert _disagreements(model) == {"rate"}


def _without(*names):
    return lambda outputs: {name: v for name, v in outputs.items() if name not in names}


def _fails(outputs):
    raise tf.errors.InvalidArgumentError(None, None, "no such layer\nand a trace")


@pytest.mark.parametrize(
    ("altered", "message"),
    [
        ({"evaluate": _without("code", "rate")}, "^evaluate gives no rate, code$"),
        (
            {"evaluate": _scores(elbo=np.mean)},
            r"^evaluate gives elbo of shape \[\] for 20 images$",
        ),
        (
            {"evaluate": _scores(posterior_mean=lambda mean: mean[:7])},
            r"^evaluate gives posterior_mean of shape \[7, 3\] for 20 images$",
        ),
        (
            {"decode": _mean(lambda mean: mean[:, :3])},
            r"^decode gives images of \[3, 4, 1\], not \[5, 4, 1\]$",
        ),
        ({"decode": _without("mean")}, "^a signature of /models/in_memory fails .KeyError: 'mean'"),
        ({"encode": _fails}, r"^a signature of .* fails \(InvalidArgumentError: no such layer\)$"),
        ({"importance_weighted_bound": _fails}, r"InvalidArgumentError: no such layer\)$"),
        (
            {"kl_weight_slopes": _without("rate_slope")},
            "^importance_weighted_bound or kl_weight_slopes gives no rate_slope$",
        ),
        (
            {"importance_weighted_bound": _scores(importance_weighted_bound=np.mean)},
            r"gives importance_weighted_bound of shape \[\] for 1 images",
        ),
    ],
)
def test_signatures_that_cannot_be_scored_are_an_error(healthy, altered, message):
    with pytest.raises(InputError, match=message):
        _disagreements(healthy.altered(**altered))
