"""The TfdsExampleGen component."""

import dataclasses
import re
from collections.abc import Mapping

from google.protobuf import struct_pb2
from tfx.components.example_gen import component as example_gen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from components.code_fingerprint import code_fingerprint
from components.errors import InputError
from components.tfds_example_gen import executor
from components.tfds_example_gen.source import DataSource


class TfdsExampleGen(example_gen.QueryBasedExampleGen):
    """Ingests a TFDS data set or an image folder, one output split a TFDS split expression.

    Example:
    ```
    example_gen = TfdsExampleGen(
        source=DataSource("mnist"),
        splits={"train": "train[:90%]", "eval": "train[90%:]", "test": "test"},
    )
    ```

    Component `outputs` contains:
      - `examples`: Channel of type `standard_artifacts.Examples` with encoded images, labels
        and names.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        source: DataSource,
        splits: Mapping[str, str],
        data_fingerprint: str | None = None,
    ):
        """Constructs the component; nothing is downloaded, and no image is read.

        Args:
          source: Where the images come from. _required_
          splits: Output split -> TFDS split expression. _required_
          data_fingerprint: What tells this data from other data in the cache. By default
            `source.fingerprint()`, which looks at the data; give any text of your own where
            the pipeline is defined on a machine that cannot see the data.

        Raises:
          InputError: If there is no split, a split's name is not usable in a folder name, or the
            data cannot be found.
        """
        _check_split_names(splits)
        settings = struct_pb2.Struct()
        settings.update(dataclasses.asdict(source))
        if data_fingerprint is None:
            data_fingerprint = source.fingerprint()
        settings["data_fingerprint"] = data_fingerprint
        settings["code_fingerprint"] = code_fingerprint("components.tfds_example_gen")
        custom_config = example_gen_pb2.CustomConfig()
        custom_config.custom_config.Pack(settings, deterministic=True)
        super().__init__(
            input_config=example_gen_pb2.Input(
                splits=[
                    example_gen_pb2.Input.Split(name=name, pattern=expression)
                    for name, expression in splits.items()
                ]
            ),
            # Empty, not absent: TFX would divide a single split 2:1 into train and eval.
            output_config=example_gen_pb2.Output(),
            custom_config=custom_config,
        )


def _check_split_names(splits: Mapping[str, str]) -> None:
    if not splits:
        raise InputError("No output split is given; give one like train=train[:90%].")
    for name in splits:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise InputError(
                f"Output split {name!r} cannot be a folder name; use letters, digits, _ and -."
            )
