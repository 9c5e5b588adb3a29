"""TFX component that cuts a trained model in two: its decoder and its encoder."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.code_fingerprint import code_fingerprint
from components.decoder_exporter import executor


class DecoderExporterSpec(ComponentSpec):
    """Parameters, inputs and outputs of DecoderExporter."""

    PARAMETERS = {  # noqa: RUF012
        executor.CODE_FINGERPRINT_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        executor.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {  # noqa: RUF012
        executor.DECODER_KEY: ChannelParameter(type=standard_artifacts.Model),
        executor.ENCODER_KEY: ChannelParameter(type=standard_artifacts.Model),
    }


class DecoderExporter(base_component.BaseComponent):
    """Writes SavedModels of the decoder alone and of the encoder alone, for serving.

    ```python
    exporter = DecoderExporter(model=trainer.outputs["model"])
    ```

    Component `outputs` contains:
     - `decoder`: Channel of type `standard_artifacts.Model` with the signatures `decode`
       (also `serving_default`), `generate` and `interpolate`.
     - `encoder`: Channel of type `standard_artifacts.Model` with the signatures `encode`
       (also `serving_default`) and `encode_pixels`, which take images as they come.
    """

    SPEC_CLASS = DecoderExporterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, model: types.BaseChannel):
        """Constructs the component.

        Args:
          model: The full Model. _required_
        """
        spec = DecoderExporterSpec(
            **{
                executor.MODEL_KEY: model,
                executor.CODE_FINGERPRINT_KEY: code_fingerprint(
                    "components.decoder_exporter",
                    "components.image_binarizer.binarize",
                    "components.content_noise",
                    "components.serving_warmup",
                ),
                executor.DECODER_KEY: types.Channel(type=standard_artifacts.Model),
                executor.ENCODER_KEY: types.Channel(type=standard_artifacts.Model),
            }
        )
        super().__init__(spec=spec)
