"""What Predict computes, apart from where the model and the request come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import grpc
import numpy as np
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

from serving import tensors
from serving.servable import DEFAULT_SIGNATURE, Endpoint, Servable, Signature
from serving.status import StatusError, invalid_argument


def run_predict(
    servable: Servable, request: predict_pb2.PredictRequest, timeout: float | None = None
) -> predict_pb2.PredictResponse:
    """Runs one signature, with the checks of TF Serving in their order (predict_util.cc, 2.16.1).

    Args:
      servable: The model.
      request: Its model name and version are not looked at.
      timeout: Seconds, or None for no limit.

    Returns:
      The filtered outputs, or all of them, and the signature and version that made them.

    Raises:
      StatusError: The signature is unknown, the inputs or the output filter do not fit it, or the
        graph refuses the values.
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise StatusError(
            grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
        )
    # `dict` first: reading a missing key of the protobuf map would insert it.
    sent = dict(request.inputs.items())
    _check_size(signature, sent)
    feeds = _input_values(signature, sent)
    aliases = _output_aliases(signature, request.output_filter)
    values = servable.run(feeds, [signature.outputs[alias] for alias in aliases], timeout)

    response = predict_pb2.PredictResponse()
    fill_model_spec(response.model_spec, request.model_spec.name, name, servable.version)
    for alias, value in zip(aliases, values, strict=True):
        tensors.to_proto(value, response.outputs[alias])
    return response


def fill_model_spec(
    spec: model_pb2.ModelSpec, model_name: str, signature_name: str, version: int
) -> None:
    """Writes which model answered: the name as asked for, the signature and version used."""
    spec.name = model_name
    spec.signature_name = signature_name or DEFAULT_SIGNATURE
    spec.version.value = version


def _check_size(signature: Signature, sent: Mapping[str, tensor_pb2.TensorProto]) -> None:
    known = signature.inputs
    if len(sent) == len(known) or (len(sent) < len(known) and signature.defaults):
        return
    raise invalid_argument(
        f"input size does not match signature: {len(sent)}!={len(known)} "
        f"len({{{_names(sent)}}}) != len({{{_names(known)}}}). "
        f"Sent extra: {{{_names(sent.keys() - known.keys())}}}. "
        f"Missing but required: {{{_names(known.keys() - sent.keys())}}}."
    )


def _input_values(
    signature: Signature, sent: Mapping[str, tensor_pb2.TensorProto]
) -> list[tuple[Endpoint, np.ndarray]]:
    feeds = []
    for alias, endpoint in sorted(signature.inputs.items()):
        proto = sent.get(alias, signature.defaults.get(alias))
        if proto is None:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {endpoint.name}) not found in "
                "request and no default value provided. Inputs expected to be in the request "
                f"{{{_names(sent)}}}, or default input alias set: {_names(signature.defaults)}"
            )
        try:
            feeds.append((endpoint, tensors.from_proto(proto)))
        except (ValueError, TypeError) as error:
            raise invalid_argument(f"tensor parsing error: {alias}") from error
    used = sent.keys() & signature.inputs.keys()
    if len(used) != len(sent):
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {_names(used)}, "
            f"request input: {_names(sent)}"
        )
    return feeds


def _output_aliases(signature: Signature, output_filter: Iterable[str]) -> list[str]:
    aliases: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {{{_names(signature.outputs)}}}."
            )
        if alias in aliases:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        aliases.append(alias)
    return aliases or sorted(signature.outputs)


def _names(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
