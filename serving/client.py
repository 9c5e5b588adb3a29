"""A typed client for a served decoder; works with this package's server and with TF Serving.

The request messages are built from TensorFlow's, so TensorFlow is imported by the first call, not
by `import serving.client`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from components.errors import InputError
from serving.client_channel import ClientChannel, Tls

if TYPE_CHECKING:
    import numpy as np

DEFAULT_TARGET = "127.0.0.1:8500"
Kind = Literal["mean", "mode", "sample"]

# A signature that TensorFlow adds to every TF2 SavedModel and that cannot be called.
_INIT_SIGNATURE = "__saved_model_init_op"


@dataclass(frozen=True)
class TensorSpec:
    """What a signature says about one tensor.

    Attributes:
      dtype: TensorFlow's name for it, for example `float32`.
      shape: One entry a dimension, None where any size fits; None as a whole if the rank is not
        known.
    """

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class SignatureSpec:
    """The inputs and outputs of a signature, by name."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


class Posterior(NamedTuple):
    """What an encoder says of images, each float32 [batch, latent dimensions].

    Attributes:
      mean: The posterior's mean.
      log_variance: The logarithm of its variance.
      code: A draw from it, the same for the same image.
    """

    mean: np.ndarray
    log_variance: np.ndarray
    code: np.ndarray


class DecoderClient:
    """Asks a model server for images.

    Every method raises `InputError`, with one line, if nobody answers at the target within the
    timeout, or if the server answers with an error; the line then has its code and text. A server
    that is not there yet is waited for until the timeout. Requests change nothing, so those that
    fail with UNAVAILABLE are sent again, after pauses that double.

    Example:
      >>> with DecoderClient() as client:
      ...     images = client.generate(16, seed=1)
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        model_name: str = "decoder",
        timeout: float = 10.0,
        *,
        encoder_name: str | None = None,
        tls: Tls | None = None,
    ):
        """Describes a connection; it is made by the first request.

        Args:
          target: `host:port` of a server's gRPC port, or `unix:/path` of its socket.
          model_name: The name that the decoder is served under.
          timeout: Seconds that a call may take, its retries included.
          encoder_name: The name that the encoder is served under; needed to encode and reconstruct.
          tls: How to encrypt; None not to.
        """
        self._model_name = model_name
        self._encoder_name = encoder_name
        self._channel = ClientChannel(target, timeout, tls)

    def __enter__(self) -> DecoderClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def generate(
        self, number: int, seed: int = 0, kind: Kind = "mean", temperature: float = 1.0
    ) -> np.ndarray:
        """Generates images from the prior.

        Args:
          number: How many.
          seed: The same seed gives the same images from the same version.
          kind: What of the pixels' distribution.
          temperature: Multiplies the prior's standard deviations: below 1 images are more typical,
            above 1 they vary more.

        Returns:
          Images, float32 [number, height, width, channels].
        """
        inputs = _generate_inputs(number, seed, temperature)
        return self._images("generate", inputs, kind)

    def draw_codes(self, number: int, seed: int = 0, temperature: float = 1.0) -> np.ndarray:
        """The latent vectors of `generate` with the same arguments, [number, latent dimensions]."""
        inputs = _generate_inputs(number, seed, temperature)
        return self.predict("generate", inputs, ["z"])["z"]

    def decode(self, z: np.ndarray, kind: Kind = "mean") -> np.ndarray:
        """Decodes latent vectors.

        Args:
          z: Latent vectors, [batch, latent dimensions]; converted to float32.
          kind: What of the pixels' distribution.

        Returns:
          Images, float32 [batch, height, width, channels].
        """
        import numpy as np

        return self._images("decode", {"z": np.asarray(z, np.float32)}, kind)

    def interpolate(
        self,
        start: np.ndarray,
        end: np.ndarray,
        steps: int,
        spherical: bool = True,
        kind: Kind = "mean",
    ) -> np.ndarray:
        """Decodes equal steps from one latent vector to another.

        Args:
          start: The first latent vector, [latent dimensions].
          end: The last one, likewise.
          steps: How many images, both ends included.
          spherical: Along a great circle, as lies between draws from a normal prior; else along a
            straight line.
          kind: What of the pixels' distribution.

        Returns:
          Images, float32 [steps, height, width, channels].
        """
        import numpy as np

        if steps < 2:
            raise InputError(f"{steps} steps leave out an end; ask for at least 2.")
        inputs = {
            "start": np.asarray(start, np.float32),
            "end": np.asarray(end, np.float32),
            "steps": np.int64(steps),
            "spherical": np.bool_(spherical),
        }
        return self._images("interpolate", inputs, kind)

    def encode(self, images: Sequence[bytes] | np.ndarray) -> Posterior:
        """Encodes images as they come; the encoder resizes and binarises them as for training.

        Args:
          images: The bytes of image files, or pixels, uint8 [batch, height, width, 1 or 3].
        """
        import numpy as np

        if self._encoder_name is None:
            raise InputError("This client knows no encoder; give DecoderClient its encoder_name.")
        if isinstance(images, np.ndarray) and images.dtype != object:
            if images.dtype != np.uint8 or images.ndim != 4:
                raise InputError(
                    f"Pixels of type {images.dtype} and shape {list(images.shape)} are no images; "
                    "give uint8 [batch, height, width, 1 or 3], or the bytes of files."
                )
            signature, inputs = "encode_pixels", {"pixels": images}
        else:
            # Not an array of strings, which would lose the zero bytes at a file's end.
            signature, inputs = "encode", {"images": np.array(list(images), dtype=object)}
        return Posterior(**self._predict(self._encoder_name, signature, inputs, Posterior._fields))

    def reconstruct(self, images: Sequence[bytes] | np.ndarray, kind: Kind = "mean") -> np.ndarray:
        """Decodes the posterior means of images.

        Args:
          images: As for `encode`.
          kind: What of the pixels' distribution.

        Returns:
          Images, float32 [batch, height, width, channels].
        """
        return self.decode(self.encode(images).mean, kind)

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs any signature.

        Args:
          signature: Its name.
          inputs: Arrays by input name, in the dtypes of the signature: nothing is converted.
          outputs: The outputs to compute, or None for all.

        Returns:
          Arrays by output name.
        """
        return self._predict(self._model_name, signature, inputs, outputs)

    def status(self) -> list[tuple[int, str]]:
        """Returns the versions that the server knows and their states, the highest version first.

        States are START, LOADING, AVAILABLE, UNLOADING and END.
        """
        from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self._model_name
        stub = model_service_pb2_grpc.ModelServiceStub(self._channel.grpc_channel)
        response = self._channel.call(stub.GetModelStatus, request)
        names = get_model_status_pb2.ModelVersionStatus.State
        versions = [
            (entry.version, names.Name(entry.state)) for entry in response.model_version_status
        ]
        return sorted(versions, reverse=True)

    def metadata(self) -> dict[str, SignatureSpec]:
        """Returns the signatures that can be called, by name."""
        from tensorflow_serving.apis import get_model_metadata_pb2, prediction_service_pb2_grpc

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._model_name
        stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel.grpc_channel)
        response = self._channel.call(stub.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return {
            name: SignatureSpec(
                {alias: _tensor_spec(info) for alias, info in definition.inputs.items()},
                {alias: _tensor_spec(info) for alias, info in definition.outputs.items()},
            )
            for name, definition in sorted(signatures.signature_def.items())
            if name != _INIT_SIGNATURE
        }

    def latent_size(self) -> int:
        """Returns the number of latent dimensions, as `decode` has it."""
        return self.metadata()["decode"].inputs["z"].shape[1]

    def _predict(
        self,
        model_name: str,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str] | None,
    ) -> dict[str, np.ndarray]:
        import numpy as np
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        from serving import tensors

        request = predict_pb2.PredictRequest(output_filter=outputs or ())
        request.model_spec.name = model_name
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(np.asarray(value)))
        stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel.grpc_channel)
        response = self._channel.call(stub.Predict, request)
        return {name: tensors.from_proto(proto) for name, proto in response.outputs.items()}

    def _images(self, signature: str, inputs: Mapping[str, Any], kind: Kind) -> np.ndarray:
        if kind not in get_args(Kind):
            raise InputError(f"The output {kind!r} does not exist; use mean, mode or sample.")
        return self.predict(signature, inputs, [kind])[kind]


def _generate_inputs(number: int, seed: int, temperature: float) -> dict[str, Any]:
    import numpy as np

    if number < 1:
        raise InputError(f"{number} images were asked for; ask for at least 1.")
    if not (temperature >= 0.0 and math.isfinite(temperature)):
        raise InputError(f"The temperature {temperature} is no factor; give 0 or more.")
    inputs = {"number": np.int64(number), "seed": np.int64(seed)}
    # Left out at its default, so that a decoder without the input is served too.
    return inputs if temperature == 1.0 else {**inputs, "temperature": np.float32(temperature)}


def _tensor_spec(info: Any) -> TensorSpec:
    import tensorflow as tf

    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(tf.dtypes.as_dtype(info.dtype).name, shape)
