"""Warm-up: requests stored beside a model, replayed before it serves, so that no user waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.example_inference import run_classify, run_multi_inference, run_regress
from serving.predict import run_predict
from serving.servable import Servable
from serving.status import StatusError, code_from_number, invalid_argument

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1000

_RUNNERS = {
    "predict_log": run_predict,
    "classify_log": run_classify,
    "regress_log": run_regress,
    "multi_inference_log": run_multi_inference,
}


def warm_up(servable: Servable) -> int:
    """Replays the PredictionLogs in `assets.extra/tf_serving_warmup_requests`, if there are any.

    Args:
      servable: The model, which is not serving yet.

    Returns:
      The number of records replayed.

    Raises:
      StatusError: The file is damaged or too long, or a request fails; the model must then not
        serve. Codes and texts are those of saved_model_warmup_util.cc at TF Serving 2.16.1.
    """
    path = servable.path / WARMUP_FILE
    if not path.exists():
        return 0
    count = 0
    for record in _records(path):
        log = prediction_log_pb2.PredictionLog()
        try:
            log.ParseFromString(record)
        except DecodeError as error:
            raise invalid_argument(
                f"Failed to parse warmup record: {record!r} from {path}"
            ) from error
        _replay(servable, log)
        count += 1
        if count > MAX_RECORDS:
            raise invalid_argument(
                f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}"
            )
    return count


def _records(path: Path) -> Iterator[bytes]:
    try:
        yield from tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    except tf.errors.OpError as error:
        raise StatusError(
            code_from_number(error.error_code),
            f"{error.message}. Please verify your warmup data is in TFRecord format.",
        ) from error


def _replay(servable: Servable, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind in _RUNNERS:
        _RUNNERS[kind](servable, getattr(log, kind).request)
    elif kind is not None:
        number = log.DESCRIPTOR.fields_by_name[kind].number
        raise StatusError(
            grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}"
        )
