"""One loaded SavedModel, and the only module that touches private symbols of TensorFlow.

A v1 session run through the C API is what TF Serving itself does: the same leniency about shapes
and the same error texts, which `Session.run` and `tf.saved_model.load` both change, and several
times faster than either. The symbols below were checked with TensorFlow 2.16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.saved_model import loader_impl

from serving.status import StatusError, code_from_number, invalid_argument

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Endpoint:
    """A tensor of the graph that a signature names.

    Attributes:
      name: As in the signature, for example `decode_z:0`.
      handle: The C API's output, or None for a composite tensor, which has no single one.
    """

    name: str
    handle: Any


@dataclass(frozen=True)
class Signature:
    """A SignatureDef in plain dicts.

    Reading a missing key of a protobuf map inserts it, so one request with a misspelt name would
    damage the signature for all that follow.

    Attributes:
      inputs: Endpoints by alias.
      outputs: Endpoints by alias.
      defaults: Values of inputs that a request may leave out, by alias.
      definition: A copy of the SignatureDef, for metadata; never indexed.
    """

    inputs: Mapping[str, Endpoint]
    outputs: Mapping[str, Endpoint]
    defaults: Mapping[str, tensor_pb2.TensorProto]
    definition: meta_graph_pb2.SignatureDef


class Servable:
    """A SavedModel in memory, ready to run.

    Attributes:
      path: The version directory.
      version: Its number.
      signatures: By signature name.
    """

    def __init__(self, path: Path, version: int):
        """Loads the meta graph tagged `serve`.

        Args:
          path: A directory with `saved_model.pb`.
          version: The number that answers will carry.

        Raises:
          StatusError: The model cannot be loaded.
        """
        self.path = path
        self.version = version
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(
            graph=self._graph, config=tf.compat.v1.ConfigProto(allow_soft_placement=True)
        )
        try:
            with self._graph.as_default():
                meta_graph = loader_impl.SavedModelLoader(str(path)).load(
                    self._session, [tf.saved_model.SERVING]
                )
            # Session.run would send the graph to the runtime; the C API does not.
            self._session._extend_graph()
            self.signatures = {
                name: self._signature(definition)
                for name, definition in meta_graph.signature_def.items()
            }
        except Exception as error:
            self._session.close()
            raise _load_error(path, error) from error

    def run(
        self,
        feeds: Sequence[tuple[Endpoint, np.ndarray]],
        fetches: Sequence[Endpoint],
        timeout: float | None = None,
    ) -> list[np.ndarray]:
        """Computes tensors of the graph.

        Args:
          feeds: Values of any shape; the graph, not the signature, decides what fits.
          fetches: What to compute.
          timeout: Seconds after which the computation is cancelled, or None for no limit.

        Returns:
          One array a fetch, in order; strings come as arrays of bytes objects.

        Raises:
          StatusError: With the code and text of the TensorFlow runtime.
        """
        for endpoint in (*(endpoint for endpoint, _ in feeds), *fetches):
            if endpoint.handle is None:
                raise invalid_argument(f"Not a single tensor of the graph: '{endpoint.name}'")
        options = _run_options(timeout)
        try:
            return pywrap_tf_session.TF_SessionRun_wrapper(
                self._session._session,
                options,
                {endpoint.handle: value for endpoint, value in feeds},
                [endpoint.handle for endpoint in fetches],
                [],
                None,
            )
        except tf.errors.OpError as error:
            raise StatusError(code_from_number(error.error_code), error.message) from error
        finally:
            if options is not None:
                pywrap_tf_session.TF_DeleteBuffer(options)

    def close(self) -> None:
        """Frees the session; no request may be running."""
        self._session.close()

    def _signature(self, definition: meta_graph_pb2.SignatureDef) -> Signature:
        copy = meta_graph_pb2.SignatureDef()
        copy.CopyFrom(definition)
        return Signature(
            inputs={alias: self._endpoint(info) for alias, info in definition.inputs.items()},
            outputs={alias: self._endpoint(info) for alias, info in definition.outputs.items()},
            defaults=dict(copy.defaults.items()),
            definition=copy,
        )

    def _endpoint(self, info: meta_graph_pb2.TensorInfo) -> Endpoint:
        if info.WhichOneof("encoding") != "name":
            return Endpoint("", None)
        operation, _, index = info.name.partition(":")
        # Built by hand, because `get_tensor_by_name` refuses the outputless operation that
        # `__saved_model_init_op` names; running that is the runtime's error to tell, when asked
        # for.
        handle = pywrap_tf_session.TF_Output()
        handle.oper = self._graph.get_operation_by_name(operation)._c_op
        handle.index = int(index or 0)
        return Endpoint(info.name, handle)


def _run_options(timeout: float | None) -> Any:
    """Returns serialized RunOptions with the timeout, or None; the caller deletes the buffer."""
    if timeout is None:
        return None
    # Zero would mean no limit.
    options = tf.compat.v1.RunOptions(timeout_in_ms=max(1, int(timeout * 1000)))
    return pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())


def _load_error(path: Path, error: Exception) -> StatusError:
    """Gives a failure to load the status code that describes it best."""
    if isinstance(error, tf.errors.OpError):
        return StatusError(code_from_number(error.error_code), error.message)
    if isinstance(error, OSError):
        return StatusError(grpc.StatusCode.DATA_LOSS, f"Cannot read the model in {path}: {error}")
    return StatusError(grpc.StatusCode.UNKNOWN, f"Cannot load the model in {path}: {error}")
