"""The gradient of the loss against differences of the loss."""

import numpy as np
import pytest
import tensorflow as tf

from tests.components.trainer.tiny_models import (
    COLOUR,
    COLOUR_LEVELS,
    GREY_LEVELS,
    gradients_of,
    random_batch,
    tiny_config,
    tiny_model,
)

COMBINATIONS = [
    ({"posterior": "full_covariance", "free_bits": 0.0}, COLOUR),
    ({"rate_estimator": "monte_carlo", "training_samples": 3, "kl_weight": 2.0}, COLOUR),
    ({"prior": "vamp", "rate_estimator": "monte_carlo", "posterior": "full_covariance"}, COLOUR),
    (
        {
            "prior": "mixture",
            "rate_estimator": "monte_carlo",
            "objective": "importance_weighted",
            "training_samples": 5,
        },
        COLOUR,
    ),
    ({"likelihood": "gaussian_learned_scale", "free_bits": 0.2}, COLOUR_LEVELS),
    ({"likelihood": "continuous_bernoulli"}, GREY_LEVELS),
    ({"likelihood": "discretized_logistic"}, COLOUR_LEVELS),
    ({"posterior": "point", "kl_weight": 0.0, "likelihood": "gaussian"}, GREY_LEVELS),
]


@pytest.mark.parametrize(("changes", "image_format"), COMBINATIONS)
def test_the_gradient_is_the_slope_of_the_loss(changes, image_format):
    config = tiny_config(**changes)
    model = tiny_model(config, image_format)
    batch = random_batch(config, image_format, count=4)
    _, gradients = gradients_of(model, batch)
    variables = model.trainable_variables
    start = [variable.numpy() for variable in variables]

    @tf.function(autograph=False)
    def loss():
        return tf.reduce_mean(model.objective.loss(model.terms(batch), model.current_kl_weight()))

    def loss_at(step, direction):
        for variable, value, part in zip(variables, start, direction, strict=True):
            variable.assign(value + step * part)
        return float(loss())

    rng = np.random.default_rng(0)
    # The gradient's own direction, and each variable's, so that none hides behind the others.
    directions = [gradients]
    for index in range(len(variables)):
        part = [np.zeros_like(gradient) for gradient in gradients]
        part[index] = np.sign(gradients[index]) * rng.uniform(0.5, 1, gradients[index].shape)
        directions.append(part)
    for direction in directions:
        length = np.sqrt(sum((part**2).sum() for part in direction))
        direction = [part / length for part in direction]
        slope = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True))
        assert slope > 1e-3
        step = 1e-2
        # Five points: the error of the fourth order is far below that of float32.
        difference = (
            8 * (loss_at(step, direction) - loss_at(-step, direction))
            - (loss_at(2 * step, direction) - loss_at(-2 * step, direction))
        ) / (12 * step)
        assert difference == pytest.approx(slope, rel=3e-3, abs=5e-3)
