"""Makes raw and model-ready Examples on disk, as TFX lays them out."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image


def png(pixels: np.ndarray) -> bytes:
    """Encodes uint8 [H, W] or [H, W, 3 or 4] pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def raw_example(image: bytes, label: int, name: str) -> bytes:
    """A serialized raw Example, as TfdsExampleGen writes it."""
    from components.tfds_example_gen.transforms import make_example

    return make_example(image, label, name.encode()).SerializeToString()


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


def binarize_examples(raw, folder: Path, image_format, max_undecodable_share: float = 0.0):
    """Runs ImageBinarizer's executor; returns its two output artifacts."""
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
