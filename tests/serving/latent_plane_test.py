"""The codes that `tfx-vae manifold` decodes."""

from statistics import NormalDist

import numpy as np
import pytest

from components.errors import InputError
from serving.latent_plane import plane_codes


def test_a_plane_has_equal_steps_of_probability_to_the_right_and_downwards():
    codes = plane_codes(2).reshape(20, 20, 2)
    assert codes.dtype == np.float32
    shares = np.vectorize(NormalDist().cdf)(codes)
    steps = np.linspace(0.05, 0.95, 20)
    np.testing.assert_allclose(shares[..., 0], np.broadcast_to(steps, (20, 20)), atol=1e-6)
    np.testing.assert_allclose(shares[..., 1], shares[..., 0].T)


def test_the_other_dimensions_are_at_their_mean():
    codes = plane_codes(5, (3, 1))
    np.testing.assert_array_equal(codes[:, [3, 1]], plane_codes(2))
    assert not codes[:, [0, 2, 4]].any()


@pytest.mark.parametrize("dimensions", [(0, 0), (-1, 0), (0, 5)])
def test_dimensions_that_are_not_there(dimensions):
    with pytest.raises(InputError, match=r"choose from 0 to 4\.$"):
        plane_codes(5, dimensions)


@pytest.mark.parametrize(("size", "message"), [(1, "makes no plane"), (16, "--dimensions A,B")])
def test_a_space_that_is_no_plane(size, message):
    with pytest.raises(InputError, match=message):
        plane_codes(size)
