"""Executor of ImageBinarizer."""

import dataclasses
import json
import os
from typing import Any

import apache_beam as beam
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.errors import InputError
from components.image_binarizer import transforms
from components.image_binarizer.image_format import ImageFormat, read_mean_image
from components.tfds_example_gen.executor import DATASET_PROPERTY

EXAMPLES_KEY = "examples"
ANOMALIES_KEY = "anomalies"
MODEL_READY_KEY = "model_ready_examples"
DEAD_LETTERS_KEY = "dead_letters"
IMAGE_FORMAT_KEY = "image_format"
MAX_UNDECODABLE_SHARE_KEY = "max_undecodable_share"
CODE_FINGERPRINT_KEY = "code_fingerprint"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Decodes, resizes, binarises and packs every split."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes model-ready Examples and dead letters.

        Args:
          input_dict: `examples`: raw Examples. `anomalies`: ExampleValidator's verdict; optional.
          output_dict: `model_ready_examples` and `dead_letters`, both Examples.
          exec_properties: `image_format`: JSON of ImageFormat. `max_undecodable_share`.

        Raises:
          InputError: If the data has anomalies, too many images cannot be decoded, or a split has
            no image left.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        for anomalies in input_dict.get(ANOMALIES_KEY, []):
            raise_for_anomalies(anomalies)
        raw = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        ready = artifact_utils.get_single_instance(output_dict[MODEL_READY_KEY])
        dead = artifact_utils.get_single_instance(output_dict[DEAD_LETTERS_KEY])
        image_format = ImageFormat(**json.loads(exec_properties[IMAGE_FORMAT_KEY]))
        splits = artifact_utils.decode_split_names(raw.split_names)
        for output in (ready, dead):
            output.split_names = raw.split_names
            examples_utils.set_payload_format(output, examples_utils.get_payload_format(raw))
            file_format = examples_utils.get_file_format(raw)
            if file_format:
                examples_utils.set_file_format(output, file_format)
        image_format.write(ready.uri)

        with self._make_beam_pipeline() as pipeline:
            for split in splits:
                self._add_split(pipeline, split, raw, ready, dead, image_format)

        counts = {split: read_mean_image(ready.uri, split)[1] for split in splits}
        summaries = {split: _read_summary(dead.uri, split) for split in splits}
        check_dead_letters(counts, summaries, float(exec_properties[MAX_UNDECODABLE_SHARE_KEY]))
        for key, value in dataclasses.asdict(image_format).items():
            ready.set_string_custom_property(key, str(value))
        ready.set_string_custom_property("encoding", image_format.encoding)
        ready.set_string_custom_property(
            DATASET_PROPERTY, raw.get_string_custom_property(DATASET_PROPERTY)
        )
        ready.set_string_custom_property("split_sizes", json.dumps(counts))
        dead.set_string_custom_property(
            "split_sizes", json.dumps({split: s["count"] for split, s in summaries.items()})
        )

    def _add_split(
        self,
        pipeline: beam.Pipeline,
        split: str,
        raw: types.Artifact,
        ready: types.Artifact,
        dead: types.Artifact,
        image_format: ImageFormat,
    ) -> None:
        pattern = io_utils.all_files_pattern(artifact_utils.get_split_uri([raw], split))
        results = (
            pipeline
            | f"Read[{split}]" >> beam.io.ReadFromTFRecord(pattern)
            | f"Binarize[{split}]" >> transforms.BinarizeExamples(image_format)
        )
        for name, records, output in (
            ("Examples", results["examples"], ready),
            ("DeadLetters", results[transforms.DEAD_LETTERS], dead),
        ):
            prefix = os.path.join(artifact_utils.get_split_uri([output], split), "data_tfrecord")
            _ = records | f"Write{name}[{split}]" >> beam.io.WriteToTFRecord(
                prefix, file_name_suffix=".gz"
            )
        _ = results[transforms.SUMS] | f"WriteMoments[{split}]" >> transforms.WritePixelMoments(
            ready.uri, split, image_format
        )
        _ = results[
            transforms.DEAD_LETTERS
        ] | f"WriteSummary[{split}]" >> transforms.WriteDeadLetterSummary(
            _summary_path(dead.uri, split)
        )


def raise_for_anomalies(artifact: types.Artifact) -> None:
    """Stops the pipeline on data that ExampleValidator found to break its schema.

    Args:
      artifact: ExampleAnomalies, one `SchemaDiff.pb` a split.

    Raises:
      InputError: With every split, feature and description.
    """
    found = []
    for split in artifact_utils.decode_split_names(artifact.split_names):
        uri = artifact_utils.get_split_uri([artifact], split)
        with fileio.open(os.path.join(uri, "SchemaDiff.pb"), "rb") as file:
            anomalies = anomalies_pb2.Anomalies.FromString(file.read())
        infos = dict(anomalies.anomaly_info)
        if anomalies.HasField("dataset_anomaly_info"):
            infos["the data set"] = anomalies.dataset_anomaly_info
        found += [f"{split}: {name}: {info.description}" for name, info in sorted(infos.items())]
    if found:
        raise InputError(
            f"The data does not fit its schema ({'; '.join(found)}). "
            "Mend the data, or the schema.pbtxt of this data set if the data is right."
        )


def check_dead_letters(
    counts: dict[str, int], summaries: dict[str, dict[str, Any]], max_share: float
) -> None:
    """Stops the pipeline when too many images could not be decoded.

    Args:
      counts: Decoded images of each split.
      summaries: `count` and `first` (name, reason) undecodable images of each split.
      max_share: The tolerated share of all images.

    Raises:
      InputError: Naming the first few images and their reasons.
    """
    num_dead = sum(summary["count"] for summary in summaries.values())
    total = num_dead + sum(counts.values())
    # The quotient, unlike max_share * total, is exactly max_share where the share is just met.
    if num_dead and num_dead / total > max_share:
        first = [entry for summary in summaries.values() for entry in summary["first"]]
        named = "; ".join(f"{name} ({reason})" for name, reason in first[:5])
        more = f" and {num_dead - 5} more" if num_dead > 5 else ""
        raise InputError(
            f"{num_dead} of {total} images cannot be decoded: {named}{more}. Replace or remove "
            f"them, or tolerate a share of them with --max-undecodable-share (now {max_share:g})."
        )
    empty = [split for split, count in counts.items() if count == 0]
    if empty:
        raise InputError(f"Split {', '.join(empty)} has no image; choose another split expression.")


def _summary_path(dead_letters_uri: str, split: str) -> str:
    return os.path.join(dead_letters_uri, f"summary-{split}.json")


def _read_summary(dead_letters_uri: str, split: str) -> dict[str, Any]:
    with fileio.open(_summary_path(dead_letters_uri, split), "r") as file:
        return json.loads(file.read())
