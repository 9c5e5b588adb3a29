"""What a configuration refuses, and that it survives JSON and YAML."""

import dataclasses
import json
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import InputError
from components.image_binarizer import ImageFormat
from components.trainer import TrainingConfig

NAN = float("nan")
CHOICES = {
    "formulation": "a, b, c, d, e, f",
    "architecture": "conv, conv_dense, conv_pool, conv_5x5, dense",
    "activation": "relu, elu, selu, tanh, leaky_relu",
    "posterior": "diagonal, full_covariance, point",
    "prior": "standard_normal, mixture, vamp",
    "likelihood": (
        "bernoulli, gaussian, gaussian_learned_scale, gaussian_analytic_scale, "
        "continuous_bernoulli, discretized_logistic"
    ),
    "objective": "elbo, importance_weighted",
    "rate_estimator": "analytic, monte_carlo",
    "optimizer": "adam, adamax, rmsprop, sgd",
    "schedule": "cosine, constant",
    "precision": "float32, mixed_bfloat16, mixed_float16",
}


def refused(message, **values):
    with pytest.raises(InputError, match=re.escape(message)):
        TrainingConfig(**values)


@pytest.mark.parametrize("name", CHOICES)
def test_an_unknown_choice_is_refused_with_the_known_ones(name):
    refused(f"Unknown {name} 'resnet'; choose one of {CHOICES[name]}.", **{name: "resnet"})


def test_every_field_of_names_is_among_them():
    fields = {field.name for field in dataclasses.fields(TrainingConfig)}
    texts = {name for name in fields if isinstance(getattr(TrainingConfig(), name), str)}
    assert texts == set(CHOICES)


@pytest.mark.parametrize(
    "name",
    [
        "latent_size",
        "prior_components",
        "training_samples",
        "epochs",
        "batch_size",
        "early_stopping_patience",
    ],
)
def test_counts_are_at_least_one(name):
    for value in (0, -3):
        refused(f"{name} must be at least 1, not {value}.", **{name: value})


@pytest.mark.parametrize("name", ["learning_rate", "gradient_clip_norm", "gaussian_scale"])
@pytest.mark.parametrize("value", [0.0, -1.0, NAN])
def test_rates_and_scales_are_positive(name, value):
    refused(f"{name} must be positive, not {value}.", **{name: value})


@pytest.mark.parametrize("name", ["kl_weight", "kl_warmup_epochs", "free_bits", "warmup_epochs"])
@pytest.mark.parametrize("value", [-0.1, NAN])
def test_weights_and_durations_are_not_negative(name, value):
    refused(f"{name} must not be negative, but is {value}.", **{name: value})


@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, NAN])
def test_momentum_is_between_its_ends(value):
    refused(f"ema_momentum must be between 0 and 1, not {value}.", ema_momentum=value)


@pytest.mark.parametrize("units", [[], [0], [400, -1]])
def test_hidden_layers_have_units(units):
    message = f"hidden_units must be one or more numbers of at least 1, not {units}."
    refused(message, hidden_units=units)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kl_weight": 0.0, "prior": "mixture", "rate_estimator": "monte_carlo"},
        {"kl_weight": 0.0, "objective": "importance_weighted", "training_samples": 2},
    ],
)
def test_an_autoencoder_has_no_rate(changes):
    message = (
        "A point posterior has no finite rate: it is an autoencoder, which is trained with "
        "kl_weight 0, objective elbo and prior standard_normal."
    )
    refused(message, posterior="point", **changes)


def test_an_autoencoder_has_one_code():
    message = "A point posterior has one code an image; set training_samples to 1."
    refused(message, posterior="point", kl_weight=0.0, training_samples=2)
    assert TrainingConfig(posterior="point", kl_weight=0.0).is_autoencoder
    assert not TrainingConfig(kl_weight=0.0).is_autoencoder


@pytest.mark.parametrize("prior", ["mixture", "vamp"])
def test_mixtures_have_no_closed_form(prior):
    message = (
        f"The KL divergence from the prior '{prior}' has no closed form; set rate_estimator to "
        "monte_carlo."
    )
    refused(message, prior=prior)
    TrainingConfig(prior=prior, rate_estimator="monte_carlo")


@pytest.mark.parametrize(
    "changes",
    [{"posterior": "full_covariance"}, {"prior": "mixture", "rate_estimator": "monte_carlo"}],
)
def test_free_bits_need_a_rate_a_dimension(changes):
    message = (
        "free_bits needs a rate for each latent dimension: posterior diagonal and prior "
        "standard_normal."
    )
    refused(message, free_bits=0.1, **changes)


def test_free_bits_need_the_closed_form():
    message = "free_bits needs the analytic rate_estimator."
    refused(message, free_bits=0.1, rate_estimator="monte_carlo")


@pytest.mark.parametrize("changes", [{"kl_weight": 2.0}, {"kl_weight": 0.0}, {"free_bits": 0.1}])
def test_the_importance_weighted_bound_has_no_other_weight(changes):
    message = (
        "The importance-weighted bound is one only at kl_weight 1 and free_bits 0; use objective "
        "elbo for another weight."
    )
    refused(message, objective="importance_weighted", training_samples=5, **changes)


def test_the_importance_weighted_bound_of_one_sample_is_refused():
    message = (
        "The importance-weighted bound of one sample is the ELBO; set training_samples to 2 or "
        "more."
    )
    refused(message, objective="importance_weighted")


@pytest.mark.parametrize("formulation", "bcd")
@pytest.mark.parametrize(
    ("changes", "name", "value", "wanted"),
    [
        (
            {"prior": "vamp", "rate_estimator": "monte_carlo"},
            "prior",
            "'vamp'",
            "standard_normal",
        ),
        (
            {"objective": "importance_weighted", "training_samples": 2},
            "objective",
            "'importance_weighted'",
            "elbo",
        ),
        ({"training_samples": 2}, "training_samples", "2", "1"),
        ({"free_bits": 0.5}, "free_bits", "0.5", "0.0"),
        (
            {"posterior": "point", "kl_weight": 0.0},
            "posterior",
            "'point'",
            "diagonal or full_covariance",
        ),
    ],
)
def test_keras_losses_cannot_express_everything(formulation, changes, name, value, wanted):
    message = (
        f"Formulation {formulation} cannot express {name} {value}, only {wanted}; use "
        "formulation a, e or f."
    )
    refused(message, formulation=formulation, **changes)
    for other in "aef":
        TrainingConfig(formulation=other, **changes)


@pytest.mark.parametrize("formulation", "bd")
def test_two_formulations_are_of_bernoulli_pixels(formulation):
    message = f"Formulation {formulation} cannot express likelihood 'gaussian', only bernoulli;"
    refused(message, formulation=formulation, likelihood="gaussian")
    TrainingConfig(formulation="c", likelihood="gaussian")


@pytest.mark.parametrize("binarization", ["threshold", "stochastic", "dynamic"])
def test_bernoulli_is_of_binary_pixels_and_the_others_of_grey_ones(binarization):
    binary, grey = ImageFormat(8, 8, 1, binarization), ImageFormat(8, 8, 1, "none")
    TrainingConfig().check_fits(binary)
    with pytest.raises(InputError, match="choose threshold, stochastic or dynamic, or another lik"):
        TrainingConfig().check_fits(grey)
    for likelihood in CHOICES["likelihood"].split(", ")[1:]:
        config = TrainingConfig(likelihood=likelihood)
        config.check_fits(grey)
        message = (
            f"The likelihood '{likelihood}' is of grey pixels, but binarization is "
            f"'{binarization}'; choose none, or the likelihood bernoulli."
        )
        with pytest.raises(InputError, match=re.escape(message)):
            config.check_fits(binary)


CONFIGS = st.builds(
    TrainingConfig,
    formulation=st.sampled_from("aef"),
    hidden_units=st.lists(st.integers(1, 500), min_size=1, max_size=4),
    latent_size=st.integers(1, 64),
    gradient_clip_norm=st.none() | st.floats(0.1, 1e6),
    ema_momentum=st.none() | st.floats(0.01, 0.99),
    early_stopping_patience=st.none() | st.integers(1, 50),
    learning_rate=st.floats(1e-9, 10),
    seed=st.integers(0, 2**31),
)


@settings(deadline=None, max_examples=30)
@given(config=CONFIGS)
def test_survives_json_and_yaml(config):
    values = dataclasses.asdict(config)
    as_json = json.loads(json.dumps(values))
    assert TrainingConfig(**as_json) == config
    # YAML knows no tuples, so a recipe writes a list.
    values["hidden_units"] = list(values["hidden_units"])
    copy = TrainingConfig(**yaml.safe_load(yaml.safe_dump(values)))
    assert copy == config
    assert copy.hidden_units == config.hidden_units
    assert isinstance(copy.hidden_units, tuple)
    assert hash(copy) == hash(config)
