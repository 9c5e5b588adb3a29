"""How fast the model server answers: `python -m benchmarks.serving SERVING_DIR [SECONDS]`.

Prints, in one run: calls and images a second in this process, which is the limit; then, for single
images and for batches of 64, requests a second, latencies and images a second at 1, 8, 32 and 128
clients, as a share of that limit. Clients run in a process of their own, on the same cores.
"""

import asyncio
import dataclasses
import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np

_CLIENTS = (1, 8, 32, 128)
_BATCHES = (1, 64)
_MODEL = "decoder"


@dataclasses.dataclass(frozen=True)
class Load:
    """What one load of the server gave.

    Attributes:
      requests: Answers a second.
      errors: Requests that failed.
      milliseconds: Latencies at 50, 95 and 99 %.
    """

    requests: float
    errors: int
    milliseconds: tuple[float, float, float]


def in_process(version_dir: Path, batch: int, seconds: float) -> float:
    """Calls a second of `decode` without a server.

    Args:
      version_dir: The decoder's SavedModel.
      batch: Images a call.
      seconds: How long.
    """
    import tensorflow as tf

    decode = tf.saved_model.load(str(version_dir)).signatures["decode"]
    codes = tf.constant(_codes(batch, decode.structured_input_signature[1]["z"].shape[1]))
    decode(z=codes)
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        decode(z=codes)["mean"].numpy()
        calls += 1
    return calls / (time.perf_counter() - start)


def _codes(batch: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(batch, size)).astype(np.float32)


def load_server(target: str, size: int, batch: int, clients: int, seconds: float) -> Load:
    """Loads a server from another process.

    Args:
      target: Its address.
      size: Latent dimensions.
      batch: Images a request.
      clients: Requests that are in flight at any time.
      seconds: How long.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_clients, (target, size, batch, clients, seconds))


def _clients(target: str, size: int, batch: int, clients: int, seconds: float) -> Load:
    return asyncio.run(_run_clients(target, size, batch, clients, seconds))


async def _run_clients(target: str, size: int, batch: int, clients: int, seconds: float) -> Load:
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    from serving import tensors

    request = predict_pb2.PredictRequest(output_filter=["mean"])
    request.model_spec.name, request.model_spec.signature_name = _MODEL, "decode"
    tensors.to_proto(_codes(batch, size), request.inputs["z"])
    taken, errors = [], 0

    async def client(stub, until: float, counted: bool) -> None:
        nonlocal errors
        while (start := time.perf_counter()) < until:
            try:
                await stub.Predict(request, timeout=30)
            except grpc.RpcError:
                errors += 1
                continue
            if counted:
                taken.append(time.perf_counter() - start)

    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        # The first requests open the connection.
        for counted, length in ((False, min(1.0, seconds)), (True, seconds)):
            start = time.perf_counter()
            await asyncio.gather(*(client(stub, start + length, counted) for _ in range(clients)))
            elapsed = time.perf_counter() - start
    percentiles = np.percentile(taken, (50, 95, 99)) * 1000 if taken else (np.nan,) * 3
    return Load(len(taken) / elapsed, errors, tuple(float(p) for p in percentiles))


def main() -> None:
    """Prints the table."""
    from serving.server import ModelServer
    from serving.version_directory import list_versions

    base = Path(sys.argv[1])
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0
    newest = max(list_versions(base).values(), key=lambda directory: directory.version)
    import tensorflow as tf

    signature = tf.saved_model.load(str(newest.path)).signatures["decode"]
    size = signature.structured_input_signature[1]["z"].shape[1]
    limits = {batch: in_process(newest.path, batch, seconds) for batch in _BATCHES}
    for batch, limit in limits.items():
        print(f"in process, {batch} images a call: {limit:,.0f} calls/s", end=", ")
        print(f"{limit * batch:,.0f} images/s")
    print("images clients  requests/s    of limit   p50 ms   p95 ms   p99 ms  errors")
    with ModelServer(_MODEL, base) as server:
        for batch in _BATCHES:
            for clients in _CLIENTS:
                load = load_server(server.target, size, batch, clients, seconds)
                share = load.requests / limits[batch]
                milliseconds = " ".join(f"{value:8.2f}" for value in load.milliseconds)
                print(f"{batch:6} {clients:7} {load.requests:11,.0f} {share:10.0%}", end="  ")
                print(f"{milliseconds} {load.errors:7}", flush=True)


if __name__ == "__main__":
    main()
