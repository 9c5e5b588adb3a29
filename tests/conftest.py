"""Fixtures that several folders of tests share: small real data in each stage of the pipeline."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SPLITS = {"train": 400, "eval": 100, "test": 100}


def png(pixels: np.ndarray) -> bytes:
    """Encodes uint8 [H, W] or [H, W, 3 or 4] pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def raw_example(image: bytes, label: int, name: str) -> bytes:
    """A serialized raw Example, as TfdsExampleGen writes it."""
    import tensorflow as tf

    def feature(**kind):
        return tf.train.Feature(**kind)

    return tf.train.Example(
        features=tf.train.Features(
            feature={
                "image": feature(bytes_list=tf.train.BytesList(value=[image])),
                "label": feature(int64_list=tf.train.Int64List(value=[label])),
                "name": feature(bytes_list=tf.train.BytesList(value=[name.encode()])),
            }
        )
    ).SerializeToString()


def write_examples(folder: Path, splits: dict[str, list[bytes]]) -> "Artifact":  # noqa: F821
    """Writes serialized Examples as TFX lays them out, and returns the artifact."""
    import tensorflow as tf
    from tfx.components.util import examples_utils
    from tfx.proto import example_gen_pb2
    from tfx.types import artifact_utils, standard_artifacts

    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
    for split, records in splits.items():
        path = folder / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz"
        path.parent.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions("GZIP")) as writer:
            for record in records:
                writer.write(record)
    return artifact


@pytest.fixture(scope="session")
def raw_digits(tmp_path_factory):
    """Raw Examples of 600 of scikit-learn's handwritten digits, 8x8 PNG."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    splits, start = {}, 0
    for split, count in SPLITS.items():
        chosen = order[start : start + count]
        splits[split] = [
            raw_example(png(images[i]), int(bunch.target[i]), f"digit-{i}") for i in chosen
        ]
        start += count
    return write_examples(tmp_path_factory.mktemp("raw_digits"), splits)


def binarize_examples(raw, folder: Path, image_format, max_undecodable_share: float = 0.0):
    """Runs ImageBinarizer's executor; returns its two output artifacts."""
    import dataclasses

    from tfx.types import standard_artifacts

    from components.image_binarizer.executor import Executor

    ready, dead = standard_artifacts.Examples(), standard_artifacts.Examples()
    ready.uri, dead.uri = str(folder / "ready"), str(folder / "dead")
    for artifact in (ready, dead):
        Path(artifact.uri).mkdir(parents=True)
    Executor().Do(
        {"examples": [raw]},
        {"model_ready_examples": [ready], "dead_letters": [dead]},
        {
            "image_format": json.dumps(dataclasses.asdict(image_format)),
            "max_undecodable_share": max_undecodable_share,
        },
    )
    return ready, dead


@pytest.fixture(scope="session")
def ready_digits(raw_digits, tmp_path_factory):
    """Model-ready Examples of `raw_digits`: 28x28, threshold 0.5."""
    from components.image_binarizer.image_format import ImageFormat

    folder = tmp_path_factory.mktemp("ready_digits")
    return binarize_examples(raw_digits, folder, ImageFormat(28, 28, 1, "threshold"))[0]


@pytest.fixture(scope="session")
def trained(ready_digits, tmp_path_factory):
    """A dense VAE trained for four epochs on `ready_digits`: a Model and a ModelRun artifact."""
    from tfx.types import standard_artifacts

    from components.trainer.config import TrainingConfig
    from components.trainer.run_fn import train

    folder = tmp_path_factory.mktemp("trained")
    model, run = standard_artifacts.Model(), standard_artifacts.ModelRun()
    model.uri, run.uri = str(folder / "model" / "1"), str(folder / "model_run" / "1")
    model.id = 41
    config = TrainingConfig(
        architecture="dense", latent_size=4, epochs=4, batch_size=50, learning_rate=2e-3
    )
    train(
        config,
        [f"{ready_digits.uri}/Split-train/*"],
        [f"{ready_digits.uri}/Split-eval/*"],
        f"{model.uri}/Format-Serving",
        run.uri,
        write=lambda line: None,
    )
    return model, run
