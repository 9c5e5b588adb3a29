import math

import pytest

from components.elbo_evaluator.config import GateConfig
from components.elbo_evaluator.diagnosis import diagnose
from components.elbo_evaluator.measurements import Comparison
from components.elbo_evaluator.rules import decide
from tests.components.elbo_evaluator.made_up import measured, samples


def _diagnose(measurements):
    return diagnose(measurements, decide(measurements, GateConfig()))


def test_a_healthy_model_is_told_nothing():
    assert _diagnose(measured()) == ()
    assert _diagnose(measured(samples=None, training={"likelihood": "gaussian"})) == ()


def test_a_model_without_numbers_is_told_nothing():
    assert _diagnose(measured(overall=Comparison())) == ()


def test_missing_classes_mean_nothing_where_samples_are_not_judged():
    few = samples(missing_classes=(2, 5), num_images=149)
    assert _diagnose(measured(samples=few)) == ()


@pytest.mark.parametrize(
    ("measurements", "sentence"),
    [
        (
            measured({"elbo": math.nan, "rate": math.inf, "non_finite_share": 1.0}),
            "An autoencoder: it has no prior to draw from, so its decoder cannot generate.",
        ),
        (
            measured({"elbo": math.nan, "rate": math.inf, "non_finite_share": 0.0025}),
            "Broken on some images: 0.25% of them get a score or code that is not finite. Look at "
            "those images, and at scales that may become 0.",
        ),
        (
            measured(dict.fromkeys(("elbo", "rate", "mse"), math.nan) | {"non_finite_share": 1.0}),
            "Not finite: a weight is NaN, so training diverged or the file was damaged. Lower the "
            "learning rate or set gradient_clip_norm, and train again.",
        ),
        (
            measured({"rounded_accuracy": 0.03, "mse": 0.95}),
            "Inverted pixels: only 3% of the reconstructed pixels are right. Look for 1 - x, or x "
            "< threshold, between the data and the decoder.",
        ),
        (
            measured({"mse": 0.08}),
            "Broken decoder: its reconstructions (MSE 0.080) are further from the images than the "
            "mean image is (0.070). Untrained, trained on other images, or pixels in another "
            "order.",
        ),
        (
            measured({"mse": 0.07, "implied_kl_weight": 9.0}),
            "Untrained, or hardly: reconstructions are no nearer to the images than the mean image "
            "is. Look at the learning rate and at the number of epochs.",
        ),
        (
            measured(
                {"collapsed_share": 1.0, "active_units": 0.0, "rate": 0.01, "elbo_gain": -0.5},
                is_first=True,
            ),
            "Untrained, or a decoder that ignores the code: no latent dimension tells anything "
            "about the image, and the ELBO is no better than that of independent pixels.",
        ),
        (
            measured({"collapsed_share": 1.0, "active_units": 0.0, "rate": 0.01}),
            "Posterior collapse: the rate is 0.01 nats and no latent dimension is active, so all "
            "samples are alike. The KL weight is far too large, pixels are averaged instead of "
            "summed, or the decoder does not need the code; try kl_warmup_epochs.",
        ),
        (
            measured({"implied_kl_weight": 2.05}),
            "KL counted twice: it behaves as if trained at twice the KL weight.",
        ),
        (
            measured({"implied_kl_weight": 1 / 17}, {"latent_size": 16}),
            "Averaged KL: it behaves as if trained at 1/17 of the KL weight, about one over the 16 "
            "dimensions: the rate is averaged over them instead of summed.",
        ),
        (
            measured({"implied_kl_weight": 0.9}, {"kl_weight": 4.0}),
            "Ineffective KL weight: it behaves as if trained at weight 1, not 4. Look for add_loss "
            "outside call, or a weight that was set after the model was built.",
        ),
        (
            measured({"collapsed_share": 0.75, "active_units": 4.0}),
            "Collapsed dimensions: only 4 are active. A smaller latent_size would do as well; "
            "kl_warmup_epochs or free_bits would use more.",
        ),
        (
            measured(samples=samples(missing_classes=(2, 5))),
            "Trained on a part of the classes, perhaps: samples hardly show class 2, 5. Look at "
            "the training split.",
        ),
    ],
)
def test_each_mistake_is_named(measurements, sentence):
    found = _diagnose(measurements)
    assert found[0] == sentence
    # Its consequences may follow, but nothing else that is a cause of its own.
    assert all(other.startswith(("Under-regularised", "Over-regularised")) for other in found[1:])


@pytest.mark.parametrize(
    ("candidate", "training", "starts"),
    [
        ({"implied_kl_weight": 800.0}, {}, ["Averaged loss", "Over-regularised"]),
        ({"implied_kl_weight": 0.02}, {"latent_size": 4}, ["KL dropped", "Under-regularised"]),
        # As declared, but still not a model to draw from.
        ({"implied_kl_weight": 0.1}, {"kl_weight": 0.1}, ["Under-regularised"]),
        ({"implied_kl_weight": 4.1}, {"kl_weight": 4.0}, ["Over-regularised"]),
        ({"rate": 1.9}, {}, ["Over-regularised"]),
        # A weight at which the KL is averaged over one dimension is the weight itself.
        ({"implied_kl_weight": 1.3}, {"latent_size": 1}, []),
        # Several things at once, the gravest first.
        (
            {"implied_kl_weight": 2.0, "rate": 1.0, "collapsed_share": 0.6},
            {},
            ["KL counted twice", "Over-regularised", "Collapsed dimensions"],
        ),
        # Where pixels are wrong, neither the codes nor the weight mean anything.
        ({"rounded_accuracy": 0.1, "implied_kl_weight": 9.0}, {}, ["Inverted pixels"]),
        ({"mse": 0.5, "collapsed_share": 1.0}, {}, ["Broken decoder"]),
    ],
)
def test_consequences_follow_their_cause(candidate, training, starts):
    found = _diagnose(measured(candidate, training))
    assert [sentence.split(":")[0] for sentence in found] == starts


@pytest.mark.parametrize(
    ("candidate", "training"),
    [
        ({"implied_kl_weight": 1.39}, {}),
        ({"implied_kl_weight": 1 / 1.39}, {}),
        ({"implied_kl_weight": math.nan}, {}),
        ({"implied_kl_weight": 2.0}, {"kl_weight": 2.0}),
        # Here a KL weight is not what training minimised, so another one is no mistake.
        ({"implied_kl_weight": 0.5}, {"objective": "importance_weighted"}),
        ({"implied_kl_weight": 2.0}, {"prior": "vamp"}),
        ({"implied_kl_weight": 0.5}, {"free_bits": 0.5}),
        ({"collapsed_share": 0.5}, {}),
        ({"rounded_accuracy": 0.5}, {}),
        ({"mse": 0.04}, {}),
    ],
)
def test_numbers_that_are_no_sign_of_a_mistake(candidate, training):
    assert _diagnose(measured(candidate, training)) == ()
