import pytest
import tensorflow as tf

_ONE, _TWO, _TRUE = tf.constant(1.0), tf.constant(2.0), tf.constant(True)


class _Decoder(tf.Module):
    """A decoder of 2-dimensional codes to 3x3 images, with a fault if one is named."""

    def __init__(self, fault):
        super().__init__()
        self._fault = fault
        self.weights = tf.Variable(tf.reshape(tf.range(18.0), [2, 9]) / 20)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "z")], autograph=False)
    def decode(self, z):
        mean = tf.reshape(tf.sigmoid(z @ self.weights), [-1, 3, 3, 1])
        if self._fault == "nan":
            mean += tf.math.log(-tf.ones_like(mean))
        if self._fault == "above":
            mean += 0.9
        if self._fault == "below":
            mean -= 0.9
        if self._fault == "crash":
            with tf.control_dependencies([tf.debugging.assert_less(mean, -1.0, "no such luck")]):
                mean = tf.identity(mean)
        return {"mean": mean, "mode": tf.round(mean), "sample": tf.round(mean)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([], tf.int64, "number"),
            tf.TensorSpec([], tf.int64, "seed"),
            tf.TensorSpec([], tf.float32, "temperature"),
        ],
        autograph=False,
    )
    def generate(self, number, seed, temperature=_ONE):
        z = temperature * tf.random.stateless_normal([number, 2], tf.stack([seed, seed]))
        return {**self.decode(z), "z": z}

    @tf.function(
        input_signature=[
            tf.TensorSpec([2], tf.float32, "start"),
            tf.TensorSpec([2], tf.float32, "end"),
            tf.TensorSpec([], tf.int64, "steps"),
            tf.TensorSpec([], tf.bool, "spherical"),
        ],
        autograph=False,
    )
    def interpolate(self, start, end, steps, spherical=_TRUE):
        z = tf.linspace(start, tf.where(spherical, end, -end), tf.cast(steps, tf.int32))
        return {**self.decode(z), "z": z}

    @tf.function(
        input_signature=[
            tf.TensorSpec([], tf.int64, "number"),
            tf.TensorSpec([], tf.int64, "seed"),
            tf.TensorSpec([], tf.float32, "temperature"),
        ],
        autograph=False,
    )
    def generate_with_other_default(self, number, seed, temperature=_TWO):
        return self.generate(number, seed, temperature)


@pytest.fixture(scope="session")
def save_decoder(tmp_path_factory):
    """Saves a decoder with a fault, or without signatures; gives the folder above its files."""

    def save(fault=None, without=()):
        folder = tmp_path_factory.mktemp("decoder")
        decoder = _Decoder(fault)
        signatures = {
            "serving_default": decoder.decode,
            "decode": decoder.decode,
            "generate": decoder.generate,
            "interpolate": decoder.interpolate,
        }
        if fault == "default":
            signatures["generate"] = decoder.generate_with_other_default
        kept = {name: call for name, call in signatures.items() if name not in without}
        tf.saved_model.save(decoder, str(folder / "Format-Serving"), signatures=kept)
        return folder

    return save
