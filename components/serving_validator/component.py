"""TFX component that serves a decoder before anyone depends on it."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.code_fingerprint import code_fingerprint
from components.serving_validator import executor


class ServingValidatorSpec(ComponentSpec):
    """Parameters, inputs and outputs of ServingValidator."""

    PARAMETERS = {  # noqa: RUF012
        executor.CODE_FINGERPRINT_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        executor.DECODER_KEY: ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {  # noqa: RUF012
        executor.BLESSING_KEY: ChannelParameter(type=standard_artifacts.InfraBlessing),
    }


class ServingValidator(base_component.BaseComponent):
    """Loads a decoder in a model server, queries every signature, and writes warm-up requests.

    The stock InfraValidator needs Docker or Kubernetes and cannot query a model that takes codes.

    ```python
    validator = ServingValidator(decoder=exporter.outputs["decoder"])
    ```

    Component `outputs` contains:
     - `blessing`: Channel of type `standard_artifacts.InfraBlessing`.
    """

    SPEC_CLASS = ServingValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, decoder: types.BaseChannel):
        """Constructs the component.

        Args:
          decoder: DecoderExporter's output. _required_
        """
        spec = ServingValidatorSpec(
            **{
                executor.DECODER_KEY: decoder,
                executor.CODE_FINGERPRINT_KEY: code_fingerprint(
                    "components.serving_validator", "serving"
                ),
                executor.BLESSING_KEY: types.Channel(type=standard_artifacts.InfraBlessing),
            }
        )
        super().__init__(spec=spec)
