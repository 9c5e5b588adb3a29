"""TFX component that turns encoded images into compact, model-ready records."""

import dataclasses
import json

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.code_fingerprint import code_fingerprint
from components.errors import InputError
from components.image_binarizer import executor
from components.image_binarizer.image_format import ImageFormat


class ImageBinarizerSpec(ComponentSpec):
    """Parameters, inputs and outputs of ImageBinarizer."""

    PARAMETERS = {  # noqa: RUF012
        executor.IMAGE_FORMAT_KEY: ExecutionParameter(type=str),
        executor.MAX_UNDECODABLE_SHARE_KEY: ExecutionParameter(type=float),
        executor.CODE_FINGERPRINT_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
        executor.ANOMALIES_KEY: ChannelParameter(
            type=standard_artifacts.ExampleAnomalies, optional=True
        ),
    }
    OUTPUTS = {  # noqa: RUF012
        executor.MODEL_READY_KEY: ChannelParameter(type=standard_artifacts.Examples),
        executor.DEAD_LETTERS_KEY: ChannelParameter(type=standard_artifacts.Examples),
    }


class ImageBinarizer(base_beam_component.BaseBeamComponent):
    """Decodes, resizes, binarises and packs the images of raw Examples.

    ```python
    binarizer = ImageBinarizer(
        examples=example_gen.outputs["examples"],
        anomalies=example_validator.outputs["anomalies"],
        image_format=ImageFormat(28, 28, 1, "threshold"),
    )
    ```

    Component `outputs` contains:
     - `model_ready_examples`: Channel of type `standard_artifacts.Examples`; `image` holds packed
       bits or bytes, `label` an integer; `image_format.json` beside the splits says what they mean.
     - `dead_letters`: Channel of type `standard_artifacts.Examples`; the images that could not be
       decoded, untouched, each with its `reason`.
    """

    SPEC_CLASS = ImageBinarizerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        image_format: ImageFormat,
        anomalies: types.BaseChannel | None = None,
        max_undecodable_share: float = 0.0,
    ):
        """Constructs the component.

        Args:
          examples: Raw Examples with `image` (encoded bytes), `label`, `name`. _required_
          image_format: Size, channels and binarisation of the result. _required_
          anomalies: ExampleValidator's output; any anomaly stops the pipeline here.
          max_undecodable_share: Tolerated share, in [0, 1], of images that cannot be decoded.

        Raises:
          InputError: If the share is not in [0, 1].
        """
        if not 0.0 <= max_undecodable_share <= 1.0:
            raise InputError(
                f"max_undecodable_share must be in [0, 1], not {max_undecodable_share}."
            )
        spec = ImageBinarizerSpec(
            **{
                executor.EXAMPLES_KEY: examples,
                executor.ANOMALIES_KEY: anomalies,
                executor.IMAGE_FORMAT_KEY: json.dumps(dataclasses.asdict(image_format)),
                executor.MAX_UNDECODABLE_SHARE_KEY: float(max_undecodable_share),
                executor.CODE_FINGERPRINT_KEY: code_fingerprint(
                    "components.image_binarizer", "components.content_noise"
                ),
                executor.MODEL_READY_KEY: types.Channel(type=standard_artifacts.Examples),
                executor.DEAD_LETTERS_KEY: types.Channel(type=standard_artifacts.Examples),
            }
        )
        super().__init__(spec=spec)
