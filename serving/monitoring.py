"""Counters and histograms of requests and loads, with TF Serving's names, for Prometheus.

Names, labels, buckets and text format are those of servables/tensorflow/util.cc and
prometheus_exporter.cc at TF Serving 2.16.1. `prometheus_client` does not write that format: it adds
help lines, and a suffix to the names of counters.
"""

from __future__ import annotations

import bisect
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

PROMETHEUS_PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = "text/plain"

_SERVICE = "/tensorflow.serving.PredictionService/"
# TF Serving counts these and no other RPCs.
_COUNTED = ("Predict", "Classify", "Regress")
# From 10 us to 25 minutes.
_MICROSECONDS = [10 * 1.8**power for power in range(33)]
# Names of models come from requests, so a client could otherwise fill the memory with them.
_MAX_SERIES = 1000
_ESCAPED = re.compile(r'[\\"\n]')


class _Family:
    """All series of one metric; guarded by the lock of `Metrics`."""

    kind: str

    def __init__(self, name: str, *labels: str):
        self.name = name
        self._labels = labels
        self._series: dict[tuple[str, ...], Any] = {}

    def lines(self) -> Iterator[str]:
        if self._series:
            yield f"# TYPE {self.name} {self.kind}"
        for values, series in sorted(self._series.items()):
            pairs = zip(self._labels, values, strict=True)
            yield from self._series_lines(
                ",".join(f'{label}="{_escape(value)}"' for label, value in pairs), series
            )

    def _cell(self, values: tuple[str, ...], new: Callable[[], Any]) -> Any:
        if values not in self._series and len(self._series) >= _MAX_SERIES:
            return new()
        return self._series.setdefault(values, new())

    def _series_lines(self, labels: str, series: Any) -> Iterator[str]:
        raise NotImplementedError


class _Counter(_Family):
    kind = "counter"

    def add(self, amount: int, *values: str) -> None:
        self._cell(values, lambda: [0])[0] += amount

    def _series_lines(self, labels: str, series: list[int]) -> Iterator[str]:
        yield f"{self.name}{{{labels}}} {series[0]}"


class _Histogram(_Family):
    kind = "histogram"

    def observe(self, seconds: float, *values: str) -> None:
        microseconds = int(seconds * 1e6)
        cell = self._cell(values, lambda: [0, [0] * (len(_MICROSECONDS) + 1)])
        cell[0] += microseconds
        cell[1][bisect.bisect_right(_MICROSECONDS, microseconds)] += 1

    def _series_lines(self, labels: str, series: list[Any]) -> Iterator[str]:
        total, buckets = series
        count = 0
        for limit, number in zip([*_MICROSECONDS, None], buckets, strict=True):
            count += number
            le = "+Inf" if limit is None else f"{limit:g}"
            yield f'{self.name}_bucket{{{labels},le="{le}"}} {count}'
        yield f"{self.name}_sum{{{labels}}} {total}"
        yield f"{self.name}_count{{{labels}}} {count}"


class Metrics:
    """What a server has done so far; safe to use from several threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._load_attempts = _Counter(
            ":tensorflow:cc:saved_model:load_attempt_count", "model_path", "status"
        )
        self._load_microseconds = _Counter(":tensorflow:cc:saved_model:load_latency", "model_path")
        self._warmups = _Histogram(
            ":tensorflow:serving:model_warmup_latency", "model_path", "status"
        )
        self._requests = _Counter(":tensorflow:serving:request_count", "model_name", "status")
        self._latencies = _Histogram(
            ":tensorflow:serving:request_latency", "model_name", "API", "entrypoint"
        )

    def observe_request(
        self, model_name: str, method: str, status: str, seconds: float, entrypoint: str = "GRPC"
    ) -> None:
        """Counts a request; its time counts only if it succeeded, as in TF Serving.

        Args:
          model_name: As in the request.
          method: `Predict` and so on; in TF Serving, REST requests have it in lower case, or empty.
          status: `OK`, or the name of the error's code.
          seconds: From the arrival of the request to its answer.
          entrypoint: `GRPC` or `REST`.
        """
        with self._lock:
            self._requests.add(1, model_name, status)
            if status == "OK":
                self._latencies.observe(seconds, model_name, method, entrypoint)

    def observe_load(self, model_path: str, succeeded: bool, seconds: float) -> None:
        """Counts an attempt to load a SavedModel; its time counts only if it succeeded.

        Args:
          model_path: The version directory.
          succeeded: Whether the model is loaded.
          seconds: What it took, without warm-up.
        """
        with self._lock:
            self._load_attempts.add(1, model_path, "success" if succeeded else "fail")
            if succeeded:
                self._load_microseconds.add(int(seconds * 1e6), model_path)

    def observe_warmup(self, model_path: str, status: str, seconds: float) -> None:
        """Counts the warm-up of a model that has warm-up requests.

        Args:
          model_path: The version directory.
          status: `OK`, or the error.
          seconds: What it took.
        """
        with self._lock:
            self._warmups.observe(seconds, model_path, status)

    def page(self) -> str:
        """Returns the text that Prometheus reads."""
        with self._lock:
            families = [
                self._load_attempts,
                self._load_microseconds,
                self._warmups,
                self._requests,
                self._latencies,
            ]
            return "\n".join(line for family in families for line in family.lines()) + "\n"


class MetricsInterceptor(grpc.ServerInterceptor):
    """Counts the inference requests of a gRPC server."""

    def __init__(self, metrics: Metrics):
        """Creates an interceptor.

        Args:
          metrics: Counts the requests.
        """
        self._metrics = metrics

    def intercept_service(self, continuation, handler_call_details):
        """Returns the handler of an RPC, which counts if it is an inference."""
        handler = continuation(handler_call_details)
        service, _, method = handler_call_details.method.rpartition("/")
        if handler is None or f"{service}/" != _SERVICE or method not in _COUNTED:
            return handler

        def behave(request: Any, context: grpc.ServicerContext) -> Any:
            start = time.perf_counter()
            # Stays if the handler ends in an exception that sets no code.
            status = grpc.StatusCode.UNKNOWN
            try:
                response = handler.unary_unary(request, context)
                status = context.code() or grpc.StatusCode.OK
                return response
            except BaseException:
                status = context.code() or status
                raise
            finally:
                seconds = time.perf_counter() - start
                name = request.model_spec.name
                self._metrics.observe_request(name, method, status.name, seconds)

        return grpc.unary_unary_rpc_method_handler(
            behave, handler.request_deserializer, handler.response_serializer
        )


def _escape(value: str) -> str:
    return _ESCAPED.sub(lambda match: "\\" + match[0].replace("\n", "n"), value)
