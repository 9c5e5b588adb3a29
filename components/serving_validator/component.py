"""TFX component that serves a decoder before anyone depends on it."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.code_fingerprint import code_fingerprint
from components.serving_validator import executor
from components.serving_validator.limits import Limits


class ServingValidatorSpec(ComponentSpec):
    """Parameters, inputs and outputs of ServingValidator."""

    PARAMETERS = {  # noqa: RUF012
        executor.MAX_LATENCY_MS_KEY: ExecutionParameter(type=float, optional=True),
        executor.MAX_MODEL_BYTES_KEY: ExecutionParameter(type=int, optional=True),
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

    def __init__(
        self,
        decoder: types.BaseChannel,
        max_latency_ms: float | None = None,
        max_model_bytes: int | None = None,
    ):
        """Constructs the component.

        Args:
          decoder: DecoderExporter's output. _required_
          max_latency_ms: The longest median time for the mean image of one code, milliseconds.
          max_model_bytes: The largest size of the decoder's files.

        Raises:
          InputError: If a bound is not above 0.
        """
        # A bound of whole milliseconds too is a float to TFX.
        latency = None if max_latency_ms is None else float(max_latency_ms)
        limits = Limits(latency, max_model_bytes)
        spec = ServingValidatorSpec(
            **{
                executor.DECODER_KEY: decoder,
                executor.MAX_LATENCY_MS_KEY: limits.max_latency_ms,
                executor.MAX_MODEL_BYTES_KEY: limits.max_model_bytes,
                executor.CODE_FINGERPRINT_KEY: code_fingerprint(
                    "components.serving_validator", "components.serving_warmup", "serving"
                ),
                executor.BLESSING_KEY: types.Channel(type=standard_artifacts.InfraBlessing),
            }
        )
        super().__init__(spec=spec)
