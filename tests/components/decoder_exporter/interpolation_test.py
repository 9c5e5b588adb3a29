"""Codes between two codes, at the ends of what can be asked."""

import numpy as np
import pytest
import tensorflow as tf

from components.decoder_exporter.interpolation import codes_between

_START, _END = np.array([3.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)


def _between(start, end, steps, spherical=True):
    return codes_between(
        tf.constant(start), tf.constant(end), tf.constant(steps, tf.int64), tf.constant(spherical)
    ).numpy()


def test_the_middle_of_a_quarter_circle_and_of_a_line():
    half = np.sqrt(0.5)
    np.testing.assert_allclose(_between(_START, _END, 3)[1], [3 * half, half], rtol=1e-6)
    np.testing.assert_allclose(_between(_START, _END, 3, False)[1], [1.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize("end", [[6.0, 0.0], [-3.0, 0.0], [0.0, 0.0], [3.0, 0.0]])
def test_without_a_great_circle_it_is_a_line(end):
    end = np.array(end, np.float32)
    expected = np.linspace(_START, end, 5)
    np.testing.assert_allclose(_between(_START, end, 5), expected, atol=1e-6)
    np.testing.assert_allclose(_between(end, _START, 5), expected[::-1], atol=1e-6)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_few_steps(steps):
    np.testing.assert_array_equal(
        _between(_START, _END, steps), [_START, _END][:steps] or np.zeros([0, 2])
    )


def test_less_than_no_steps_are_refused():
    with pytest.raises(tf.errors.InvalidArgumentError):
        _between(_START, _END, -1)
