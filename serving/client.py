"""A typed client for a served decoder; works with this package's server and with TF Serving.

The request messages are built from TensorFlow's, so TensorFlow is imported by the first call, not
by `import serving.client`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from components.errors import InputError

if TYPE_CHECKING:
    import numpy as np

DEFAULT_TARGET = "127.0.0.1:8500"
IMAGE_OUTPUTS = ("mean", "mode", "sample")

_INT32_MAX = 2**31 - 1
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0
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


class DecoderClient:
    """Asks a model server for images.

    Every method raises `InputError`, with one line, if nobody answers at the target within the
    timeout, or if the server answers with an error; the line then has its code and text. A server
    that is not there yet is waited for until the timeout. Requests change nothing, so those that
    fail with UNAVAILABLE are sent again.

    Example:
      >>> with DecoderClient() as client:
      ...     images = client.generate(16, seed=1)
    """

    def __init__(
        self, target: str = DEFAULT_TARGET, model_name: str = "decoder", timeout: float = 10.0
    ):
        """Describes a connection; it is made by the first request.

        Args:
          target: `host:port` of a server's gRPC port.
          model_name: The name that the model is served under.
          timeout: Seconds that a call may take, its retries included.
        """
        import grpc

        self._target = target
        self._model_name = model_name
        self._timeout = timeout
        self._channel = grpc.insecure_channel(
            target,
            options=[
                ("grpc.max_receive_message_length", _INT32_MAX),
                ("grpc.max_send_message_length", _INT32_MAX),
                # gRPC by itself would wait up to two minutes before it tries to connect again.
                ("grpc.initial_reconnect_backoff_ms", int(_FIRST_PAUSE_SECONDS * 1000)),
                ("grpc.min_reconnect_backoff_ms", int(_FIRST_PAUSE_SECONDS * 1000)),
                ("grpc.max_reconnect_backoff_ms", int(_LONGEST_PAUSE_SECONDS * 1000)),
            ],
        )

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

    def generate(self, number: int, seed: int = 0, output: str = "mean") -> np.ndarray:
        """Generates images from the prior.

        Args:
          number: How many.
          seed: The same seed gives the same images from the same version.
          output: `mean`, `mode` or `sample` of the pixels' distribution.

        Returns:
          Images, float32 [number, height, width, channels].
        """
        import numpy as np

        if number < 1:
            raise InputError(f"{number} images were asked for; ask for at least 1.")
        inputs = {"number": np.int64(number), "seed": np.int64(seed)}
        return self._images("generate", inputs, output)

    def decode(self, z: np.ndarray, output: str = "mean") -> np.ndarray:
        """Decodes latent vectors.

        Args:
          z: Latent vectors, [batch, latent dimensions]; converted to float32.
          output: `mean`, `mode` or `sample` of the pixels' distribution.

        Returns:
          Images, float32 [batch, height, width, channels].
        """
        import numpy as np

        return self._images("decode", {"z": np.asarray(z, np.float32)}, output)

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
        import numpy as np
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        from serving import tensors

        request = predict_pb2.PredictRequest(output_filter=outputs or ())
        request.model_spec.name = self._model_name
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(np.asarray(value)))
        stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        response = self._call(stub.Predict, request)
        return {name: tensors.from_proto(proto) for name, proto in response.outputs.items()}

    def status(self) -> list[tuple[int, str]]:
        """Returns the versions that the server knows and their states, the highest version first.

        States are START, LOADING, AVAILABLE, UNLOADING and END.
        """
        from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self._model_name
        stub = model_service_pb2_grpc.ModelServiceStub(self._channel)
        response = self._call(stub.GetModelStatus, request)
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
        stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        response = self._call(stub.GetModelMetadata, request)
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

    def _images(self, signature: str, inputs: Mapping[str, Any], output: str) -> np.ndarray:
        if output not in IMAGE_OUTPUTS:
            raise InputError(f"The output {output!r} does not exist; use mean, mode or sample.")
        return self.predict(signature, inputs, [output])[output]

    def _call(self, method: Any, request: Any) -> Any:
        """Sends a request until it is answered, or until the timeout is spent."""
        import grpc

        deadline = time.monotonic() + self._timeout
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                # Not `wait_for_ready`: with it, a server that is absent and one that is slow both
                # end in DEADLINE_EXCEEDED, and could not be told apart.
                return method(request, timeout=max(deadline - time.monotonic(), 0.001))
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise self._input_error(error) from error
                if time.monotonic() + pause >= deadline:
                    raise self._input_error(error) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _input_error(self, error: Any) -> InputError:
        import grpc

        # The runtime's messages run over several lines.
        details = " ".join((error.details() or "").split())
        if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            return InputError(
                f"The model server at {self._target} did not answer within {self._timeout:g} s."
            )
        # A busy TF Serving also answers UNAVAILABLE, and then says so itself.
        if error.code() == grpc.StatusCode.UNAVAILABLE and "queue" not in details:
            return InputError(
                f"No model server answers at {self._target}; start one with: tfx-vae serve"
            )
        return InputError(
            f"The model server at {self._target} answered {error.code().name}: {details}"
        )


def _tensor_spec(info: Any) -> TensorSpec:
    import tensorflow as tf

    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(tf.dtypes.as_dtype(info.dtype).name, shape)
