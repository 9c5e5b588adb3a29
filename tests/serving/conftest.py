"""A decoder small enough to save in a second, pushed the way the Pusher pushes."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def decoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """SavedModels whose means at z = 0 differ: sigmoid(-1) in `dark`, sigmoid(1) in `bright`."""
    import tensorflow as tf

    class Decoder(tf.Module):
        def __init__(self, level: float):
            super().__init__()
            self.weights = tf.Variable(tf.reshape(tf.range(8.0), [2, 4]) / 10)
            self.level = tf.Variable(level)

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "z")])
        def decode(self, z):
            mean = tf.reshape(tf.sigmoid(z @ self.weights + self.level), [-1, 2, 2, 1])
            return {"mean": mean, "mode": tf.round(mean), "sample": tf.floor(mean)}

        @tf.function(
            input_signature=[
                tf.TensorSpec([], tf.int64, "number"),
                tf.TensorSpec([], tf.int64, "seed"),
            ]
        )
        def generate(self, number, seed):
            z = tf.random.stateless_normal([number, 2], [seed, 0])
            return {"z": z, **self.decode(z)}

        @tf.function(input_signature=[tf.TensorSpec([], tf.int64, "iterations")])
        def slow(self, iterations):
            total = tf.constant(0.0)
            for i in tf.range(iterations):
                total += tf.sin(tf.cast(i, tf.float32))
            return {"total": total}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
        def echo(self, text):
            return {
                "text": text,
                "length": tf.strings.length(text),
                "long": tf.cast(tf.strings.length(text), tf.int64),
                "empty": tf.equal(tf.strings.length(text), 0),
                "double": tf.cast(tf.strings.length(text), tf.float64) / 3,
            }

    paths = {}
    for name, level in (("dark", -1.0), ("bright", 1.0)):
        decoder = Decoder(level)
        paths[name] = tmp_path_factory.mktemp("decoders") / name
        signatures = {
            "serving_default": decoder.decode,
            "decode": decoder.decode,
            "generate": decoder.generate,
            "slow": decoder.slow,
            "echo": decoder.echo,
        }
        tf.saved_model.save(decoder, str(paths[name]), signatures=signatures)
    return paths


@pytest.fixture(scope="session")
def push() -> Callable[[Path, Path, int | str], Path]:
    """Copies a model to a version directory that appears whole."""

    def push_model(model: Path, base_path: Path, version: int | str) -> Path:
        temporary = base_path / f"incoming-{version}"
        shutil.copytree(model, temporary)
        return temporary.rename(base_path / str(version))

    return push_model


@pytest.fixture(autouse=True)
def logs_are_on() -> Iterator[None]:
    """A command that another test ran in this process has switched them off."""
    disabled = logging.root.manager.disable
    logging.disable(logging.NOTSET)
    yield
    logging.disable(disabled)


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Waits for a condition, and fails if it does not come true."""

    def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.02)

    return wait_for


@pytest.fixture
def bases(decoders, push, tmp_path):
    """Model `a`: 1 and 3 dark, 2 and 4 bright. Model `b`: 1 bright."""
    for name, versions in (("a", (1, 2, 3, 4)), ("b", (1,))):
        (tmp_path / name).mkdir()
        for version in versions:
            dark = name == "a" and version % 2
            push(decoders["dark" if dark else "bright"], tmp_path / name, version)
    return tmp_path


@pytest.fixture
def serve(tmp_path):
    """Starts a server with a configuration file, and gives it and a client."""
    from serving.server import ModelServer
    from serving.server_options import ServerOptions
    from tests.serving.wire_client import Client

    open_things = []

    def start(*models, **settings):
        path = tmp_path / "models.config"
        path.write_text(f"model_config_list {{ {' '.join(models)} }}")
        server = ModelServer(
            poll_wait_seconds=0.05, options=ServerOptions(model_config_file=path, **settings)
        )
        server.start(timeout=1)
        open_things.append(server.stop)
        client = Client(server.target)
        open_things.append(client.channel.close)
        return server, client

    yield start
    for close in reversed(open_things):
        close()
