"""TFX component that judges a model by its ELBO and its samples."""

import dataclasses
import json

from google.protobuf import json_format
from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.code_fingerprint import code_fingerprint
from components.elbo_evaluator import executor
from components.elbo_evaluator.config import GateConfig
from components.elbo_evaluator.thresholds import read_thresholds


class ElboEvaluatorSpec(ComponentSpec):
    """Parameters, inputs and outputs of ElboEvaluator."""

    PARAMETERS = {  # noqa: RUF012
        executor.GATE_KEY: ExecutionParameter(type=str),
        executor.EVAL_CONFIG_KEY: ExecutionParameter(type=str),
        executor.BLESS_ANYWAY_KEY: ExecutionParameter(type=str),
        executor.CODE_FINGERPRINT_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
        executor.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        executor.CHAMPION_KEY: ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {  # noqa: RUF012
        executor.EVALUATION_KEY: ChannelParameter(type=standard_artifacts.ModelEvaluation),
        executor.BLESSING_KEY: ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class ElboEvaluator(base_beam_component.BaseBeamComponent):
    """Scores a candidate and a champion, and blesses the candidate if every rule holds.

    ```python
    evaluator = ElboEvaluator(
        examples=binarizer.outputs["model_ready_examples"],
        model=trainer.outputs["model"],
        champion=champion_resolver.outputs["champion"],
        gate=GateConfig(floor=-110.0, min_examples=1000),
    )
    ```

    Component `outputs` contains:
     - `evaluation`: Channel of type `standard_artifacts.ModelEvaluation` with `gate.json` (every
       rule, number and diagnosis) and TFMA's metrics, overall and by label.
     - `blessing`: Channel of type `standard_artifacts.ModelBlessing`.
    """

    SPEC_CLASS = ElboEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        champion: types.BaseChannel,
        gate: GateConfig | None = None,
        eval_config: config_pb2.EvalConfig | None = None,
        bless_anyway: str = "",
    ):
        """Constructs the component.

        Args:
          examples: Model-ready Examples with the splits `train` and `test`. _required_
          model: The candidate. _required_
          champion: The model to beat. _required_
          gate: Thresholds.
          eval_config: More thresholds, on any number of the gate by its name, as TFX's own
            Evaluator takes them; models, slices and options in it are not read.
          bless_anyway: A reason to bless the model whatever the rules say; it is kept in the
            blessing, in `gate.json` and in the model card. Empty leaves it to the rules.

        Raises:
          InputError: If the EvalConfig decides nothing, or other than it seems to.
        """
        if eval_config is not None:
            read_thresholds(eval_config)
        spec = ElboEvaluatorSpec(
            **{
                executor.EXAMPLES_KEY: examples,
                executor.MODEL_KEY: model,
                executor.CHAMPION_KEY: champion,
                executor.GATE_KEY: json.dumps(dataclasses.asdict(gate or GateConfig())),
                executor.EVAL_CONFIG_KEY: json_format.MessageToJson(eval_config)
                if eval_config is not None
                else "",
                executor.BLESS_ANYWAY_KEY: bless_anyway,
                executor.CODE_FINGERPRINT_KEY: code_fingerprint(
                    "components.elbo_evaluator",
                    "components.image_binarizer",
                    "components.content_noise",
                ),
                executor.EVALUATION_KEY: types.Channel(type=standard_artifacts.ModelEvaluation),
                executor.BLESSING_KEY: types.Channel(type=standard_artifacts.ModelBlessing),
            }
        )
        super().__init__(spec=spec)
