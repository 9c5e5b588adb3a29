"""The executor of TfdsExampleGen."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from google.protobuf import json_format, struct_pb2
from tfx import types
from tfx.components.example_gen import base_example_gen_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.tfds_example_gen import transforms
from components.tfds_example_gen.source import DataSource, count_splits

DATASET_PROPERTY = "dataset"
DATASET_VERSION_PROPERTY = "dataset_version"
FINGERPRINT_PROPERTY = "fingerprint"
SPLIT_SIZES_PROPERTY = "split_sizes"
LABEL_NAMES_PROPERTY = "label_names"


class Executor(base_example_gen_executor.BaseExampleGenExecutor):
    """Prepares the data if needed, then writes each output split as gzipped TFRecords."""

    _data = None
    _beam_pipeline = None

    def GetInputSourceToExamplePTransform(self) -> Callable[..., beam.PTransform]:
        """Returns what makes the transform that reads one split expression."""

        def read(exec_properties: dict[str, Any], split_pattern: str) -> beam.PTransform:
            if self._data is None:
                self._data = read_source(exec_properties).open_prepared()
            return transforms.ReadExamples(self._data, split_pattern)

        return read

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the splits.

        Args:
          input_dict: Empty.
          output_dict:
            - `examples`: the Examples artifact to fill. It also gets the custom properties
              `dataset`, `dataset_version`, `fingerprint`, `split_sizes` (JSON, split -> number
              of examples) and `label_names` (JSON list).
          exec_properties:
            - `input_config`: JSON of `example_gen_pb2.Input`, a split expression a split.
            - `output_config`: JSON of an empty `example_gen_pb2.Output`.
            - `custom_config`: JSON of `example_gen_pb2.CustomConfig` with the data source.

        Raises:
          InputError: If the data or a split cannot be had; nothing is written then.
          RuntimeError: If Beam read another number of examples than the splits hold.
        """
        self._data = read_source(exec_properties).open_prepared()
        splits = _read_splits(exec_properties)
        sizes = count_splits(self._data, splits)
        super().Do(input_dict, output_dict, exec_properties)
        self._check_counts(splits, sizes)
        artifact = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.EXAMPLES_KEY]
        )
        for key, value in {
            DATASET_PROPERTY: self._data.name,
            DATASET_VERSION_PROPERTY: self._data.version,
            FINGERPRINT_PROPERTY: self._data.fingerprint(),
            SPLIT_SIZES_PROPERTY: json.dumps(sizes),
            LABEL_NAMES_PROPERTY: json.dumps(self._data.label_names()),
        }.items():
            artifact.set_string_custom_property(key, value)

    def _make_beam_pipeline(self) -> beam.Pipeline:
        # Kept, since the counters are known only to the pipeline that the base class runs.
        self._beam_pipeline = super()._make_beam_pipeline()
        return self._beam_pipeline

    def _check_counts(self, splits: dict[str, str], sizes: dict[str, int]) -> None:
        expected = {expression: sizes[name] for name, expression in splits.items()}
        result = getattr(self._beam_pipeline, "result", None)
        if result is None:  # A pipeline that somebody else runs, later.
            return
        by_namespace = beam.metrics.MetricsFilter().with_namespace(transforms.COUNTER_NAMESPACE)
        # One counter a step, so an expression that is used twice is not counted double.
        for counter in result.metrics().query(by_namespace)["counters"]:
            expression, count = counter.key.metric.name, counter.committed
            # Not every runner reports committed values.
            if count is not None and count != expected[expression]:
                raise RuntimeError(
                    f"Read {count} examples of split {expression!r} where {expected[expression]} "
                    "were expected; did the data change meanwhile?"
                )


def read_source(exec_properties: dict[str, Any]) -> DataSource:
    """Reads the data source back from the `custom_config` execution property."""
    config = example_gen_pb2.CustomConfig()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY], config)
    struct = struct_pb2.Struct()
    config.custom_config.Unpack(struct)
    settings = json_format.MessageToDict(struct)
    names = [field.name for field in dataclasses.fields(DataSource)]
    return DataSource(**{name: settings[name] for name in names})


def _read_splits(exec_properties: dict[str, Any]) -> dict[str, str]:
    config = example_gen_pb2.Input()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], config)
    return {split.name: split.pattern for split in config.splits}
