"""TFX component that writes a page about a model."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.code_fingerprint import code_fingerprint
from components.model_report import executor
from components.model_report.page import TEMPLATE


class ModelReportSpec(ComponentSpec):
    """Parameters, inputs and outputs of ModelReport."""

    PARAMETERS = {  # noqa: RUF012
        executor.RECIPE_KEY: ExecutionParameter(type=str),
        executor.CODE_FINGERPRINT_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
        executor.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        executor.MODEL_RUN_KEY: ChannelParameter(type=standard_artifacts.ModelRun),
        executor.EVALUATION_KEY: ChannelParameter(type=standard_artifacts.ModelEvaluation),
        executor.BLESSING_KEY: ChannelParameter(type=standard_artifacts.ModelBlessing),
        executor.CHAMPION_KEY: ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {  # noqa: RUF012
        # Of the standard types, the only ones that Kubeflow knows, this one stands for what an
        # evaluation has to say about a model; the page says it to people.
        executor.REPORT_KEY: ChannelParameter(type=standard_artifacts.ModelEvaluation),
    }


class ModelReport(base_component.BaseComponent):
    """Writes one self-contained HTML page about a model, blessed or not.

    ```python
    report = ModelReport(
        examples=binarizer.outputs["model_ready_examples"],
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        blessing=evaluator.outputs["blessing"],
        champion=champion_resolver.outputs["champion"],
        recipe=recipe.to_dict(),
    )
    ```

    Component `outputs` contains:
     - `report`: Channel of type `standard_artifacts.ModelEvaluation` with `index.html`, whose
       path is the custom property `page`.
    """

    SPEC_CLASS = ModelReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        model_run: types.BaseChannel,
        evaluation: types.BaseChannel,
        blessing: types.BaseChannel,
        champion: types.BaseChannel,
        recipe: Mapping[str, Any],
    ):
        """Constructs the component.

        Args:
          examples: Model-ready Examples with a `test` split. _required_
          model: The candidate. _required_
          model_run: The candidate's training. _required_
          evaluation: ElboEvaluator's metrics of candidate and champion. _required_
          blessing: ElboEvaluator's verdict. _required_
          champion: The model that the candidate was compared with. _required_
          recipe: The recipe as plain data, from `Recipe.to_dict()`. _required_
        """
        spec = ModelReportSpec(
            **{
                executor.EXAMPLES_KEY: examples,
                executor.MODEL_KEY: model,
                executor.MODEL_RUN_KEY: model_run,
                executor.EVALUATION_KEY: evaluation,
                executor.BLESSING_KEY: blessing,
                executor.CHAMPION_KEY: champion,
                executor.RECIPE_KEY: json.dumps(dict(recipe)),
                executor.CODE_FINGERPRINT_KEY: _fingerprint(),
                executor.REPORT_KEY: types.Channel(type=standard_artifacts.ModelEvaluation),
            }
        )
        super().__init__(spec=spec)


def _fingerprint() -> str:
    code = code_fingerprint(
        "components.model_report",
        "components.image_binarizer",
        "components.elbo_evaluator",
        "components.content_noise",
    )
    # code_fingerprint sees Python files alone, and the template decides the page too.
    return f"{code}-{hashlib.sha256(TEMPLATE.read_bytes()).hexdigest()[:16]}"
