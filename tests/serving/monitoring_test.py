"""The Prometheus page: TF Serving's names, REST and gRPC requests, read by Prometheus's parser."""

import threading
from concurrent import futures

import grpc
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.monitoring import PROMETHEUS_PATH, Metrics, MetricsInterceptor
from serving.prediction_service import PredictionService
from serving.rest_server import RestServer
from serving.servable import Servable
from tests.serving.rest_support import FixedRegistry

COUNT = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"


@pytest.fixture(scope="module")
def registry(decoders):
    return FixedRegistry(decoder=[Servable(decoders["bright"], 7)])


def samples(page):
    return {
        # The parser adds this to counters.
        (sample.name.removesuffix("_total"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_exact_text():
    metrics = Metrics()
    metrics.observe_request('a"b\\', "Predict", "OK", 0.000_02)
    metrics.observe_request('a"b\\', "Predict", "NOT_FOUND", 1.0)
    lines = metrics.page().splitlines()
    assert lines[:6] == [
        f"# TYPE {COUNT} counter",
        f'{COUNT}{{model_name="a\\"b\\\\",status="NOT_FOUND"}} 1',
        f'{COUNT}{{model_name="a\\"b\\\\",status="OK"}} 1',
        f"# TYPE {LATENCY} histogram",
        f'{LATENCY}_bucket{{model_name="a\\"b\\\\",API="Predict",entrypoint="GRPC",le="10"}} 0',
        f'{LATENCY}_bucket{{model_name="a\\"b\\\\",API="Predict",entrypoint="GRPC",le="18"}} 0',
    ]
    assert lines[6].endswith('le="32.4"} 1')
    assert [line.rpartition("} ")[2] for line in lines[-3:]] == ["1", "20", "1"]
    assert 'le="+Inf"' in lines[-3]
    assert len(lines) == 4 + 33 + 3
    assert metrics.page().endswith("\n")


def test_a_limit_belongs_to_the_bucket_above_as_in_tensorflow():
    metrics = Metrics()
    metrics.observe_request("m", "Predict", "OK", 0.000_010)
    lines = metrics.page().splitlines()
    assert [line.rpartition("} ")[2] for line in lines[3:5]] == ["0", "1"]


def test_loads_and_warmups():
    metrics = Metrics()
    metrics.observe_load("/m/1", True, 1.5)
    metrics.observe_load("/m/2", False, 9.0)
    metrics.observe_warmup("/m/1", "OK", 0.5)
    found = samples(metrics.page())
    assert found[(":tensorflow:cc:saved_model:load_attempt_count", "/m/1", "success")] == 1
    assert found[(":tensorflow:cc:saved_model:load_attempt_count", "/m/2", "fail")] == 1
    assert found[(":tensorflow:cc:saved_model:load_latency", "/m/1")] == 1.5e6
    assert (":tensorflow:cc:saved_model:load_latency", "/m/2") not in found
    assert found[(":tensorflow:serving:model_warmup_latency_sum", "/m/1", "OK")] == 5e5


def test_names_from_clients_do_not_fill_the_memory():
    metrics = Metrics()
    metrics.observe_request("mine", "predict", "OK", 0.1, entrypoint="REST")
    for number in range(5000):
        metrics.observe_request(f"absent{number}", "predict", "NOT_FOUND", 0.1)
    metrics.observe_request("mine", "predict", "OK", 0.1, entrypoint="REST")
    lines = metrics.page().splitlines()
    assert len(lines) < 1100
    assert f'{COUNT}{{model_name="mine",status="OK"}} 2' in lines


def test_counts_from_many_threads_add_up():
    metrics = Metrics()

    def count():
        for _ in range(500):
            metrics.observe_request("m", "Predict", "OK", 0.001)
            metrics.page()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert samples(metrics.page())[(COUNT, "OK", "m")] == 2000


def test_rest_and_grpc_requests_are_on_one_page(registry):
    metrics = Metrics()
    rest = RestServer(registry, "127.0.0.1", 0, PROMETHEUS_PATH, metrics)
    rest.start()
    server = grpc.server(futures.ThreadPoolExecutor(2), interceptors=[MetricsInterceptor(metrics)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(registry), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "decoder"
        request.model_spec.signature_name = "slow"
        request.inputs["iterations"].dtype = 9
        request.inputs["iterations"].int64_val.append(1)
        request.inputs["iterations"].tensor_shape.SetInParent()
        stub.Predict(request, timeout=10)
        request.model_spec.name = "absent"
        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            stub.Predict(request, timeout=10)
        # TF Serving does not count requests for metadata.
        metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        metadata.model_spec.name = "decoder"
        stub.GetModelMetadata(metadata, timeout=10)

    base = f"http://127.0.0.1:{rest.port}"
    url = f"{base}/v1/models/decoder:predict"
    for body in ({"inputs": [[0, 0]]}, {"inputs": [[0, 0]]}, {"inputs": "a"}):
        requests.post(url, json=body, timeout=10)
    requests.get(f"{base}/v1/models/decoder", timeout=10)
    response = requests.get(base + PROMETHEUS_PATH, timeout=10)
    assert response.headers["Content-Type"] == "text/plain"
    found = samples(response.text)
    assert found[(COUNT, "OK", "decoder")] == 1 + 2 + 1
    assert found[(COUNT, "INVALID_ARGUMENT", "decoder")] == 1
    assert found[(COUNT, "NOT_FOUND", "absent")] == 1
    assert found[(f"{LATENCY}_count", "GRPC", "Predict", "decoder")] == 1
    assert found[(f"{LATENCY}_count", "REST", "decoder", "predict")] == 2
    assert found[(f"{LATENCY}_count", "", "REST", "decoder")] == 1
    assert found[(f"{LATENCY}_sum", "REST", "decoder", "predict")] > 0
    server.stop(None)
    rest.stop(grace=5)


def test_the_page_is_only_there_if_asked_for(registry):
    rest = RestServer(registry, "127.0.0.1", 0)
    rest.start()
    assert (
        requests.get(f"http://127.0.0.1:{rest.port}{PROMETHEUS_PATH}", timeout=10).status_code
        == 404
    )
    rest.stop()
