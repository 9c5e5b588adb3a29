"""Executor of ElboEvaluator."""

import json
import os
from typing import Any

from google.protobuf import json_format
from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.champion_resolver.executor import (
    DATASET_PROPERTY as CHAMPION_DATASET_PROPERTY,
)
from components.champion_resolver.executor import (
    INDEPENDENT_PIXELS,
    KIND_PROPERTY,
    VERSION_PROPERTY,
    describe_champion,
)
from components.elbo_evaluator.config import GateConfig
from components.elbo_evaluator.diagnosis import diagnose
from components.elbo_evaluator.measure import Champion, measure
from components.elbo_evaluator.results import GATE_FILE, gate_json
from components.elbo_evaluator.rules import decide
from components.elbo_evaluator.thresholds import decide_thresholds, read_thresholds
from components.tfds_example_gen.executor import DATASET_PROPERTY

EXAMPLES_KEY = "examples"
MODEL_KEY = "model"
CHAMPION_KEY = "champion"
EVALUATION_KEY = "evaluation"
BLESSING_KEY = "blessing"
GATE_KEY = "gate"
EVAL_CONFIG_KEY = "eval_config"
BLESS_ANYWAY_KEY = "bless_anyway"
CODE_FINGERPRINT_KEY = "code_fingerprint"

# As the stock Evaluator has them, so that whatever reads its blessing reads this one.
BLESSED_PROPERTY = "blessed"
MODEL_PROPERTY = "current_model"
MODEL_ID_PROPERTY = "current_model_id"
BASELINE_PROPERTY = "baseline_model"
BASELINE_ID_PROPERTY = "baseline_model_id"
BLESS_ANYWAY_PROPERTY = "bless_anyway"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Scores a candidate and its champion, and blesses the candidate if every rule holds."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Judges a model.

        Args:
          input_dict: `examples`: model-ready Examples with the splits `train` and `test`. `model`:
            the candidate. `champion`: the Model to beat.
          output_dict: `evaluation`: ModelEvaluation with `gate.json` and TFMA's files. `blessing`:
            ModelBlessing with a file `BLESSED` or `NOT_BLESSED` and the stock Evaluator's custom
            properties; `bless_anyway` has the reason that was given, if the rules did not decide.
          exec_properties: `gate`: JSON of a GateConfig. `eval_config`: JSON of an EvalConfig with
            more thresholds; empty for none. `bless_anyway`: a reason to bless the model
            whatever the rules say; empty for none.

        Raises:
          InputError: If the champion is damaged, or the Examples are not model-ready.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        champion = artifact_utils.get_single_instance(input_dict[CHAMPION_KEY])
        evaluation = artifact_utils.get_single_instance(output_dict[EVALUATION_KEY])
        blessing = artifact_utils.get_single_instance(output_dict[BLESSING_KEY])
        gate = GateConfig(**json.loads(exec_properties[GATE_KEY]))
        reason = exec_properties[BLESS_ANYWAY_KEY]
        kind = champion.get_string_custom_property(KIND_PROPERTY)
        measured = measure(
            candidate_path=path_utils.serving_model_path(model.uri),
            champion=Champion(
                path=path_utils.serving_model_path(champion.uri),
                name=describe_champion(kind, champion.get_int_custom_property(VERSION_PROPERTY)),
                is_first=kind == INDEPENDENT_PIXELS,
                dataset=champion.get_string_custom_property(CHAMPION_DATASET_PROPERTY),
            ),
            examples_uri=examples.uri,
            dataset=examples.get_string_custom_property(DATASET_PROPERTY),
            gate=gate,
            output_path=evaluation.uri,
            make_pipeline=self._make_beam_pipeline,
        )
        rules = decide(measured, gate)
        if exec_properties[EVAL_CONFIG_KEY]:
            config = json_format.Parse(exec_properties[EVAL_CONFIG_KEY], config_pb2.EvalConfig())
            rules += decide_thresholds(measured, read_thresholds(config))
        text = gate_json(measured, rules, diagnose(measured, rules), gate, reason)
        io_utils.write_string_file(os.path.join(evaluation.uri, GATE_FILE), text)
        blessed = json.loads(text)["blessed"]
        io_utils.write_string_file(
            os.path.join(blessing.uri, "BLESSED" if blessed else "NOT_BLESSED"), ""
        )
        blessing.set_int_custom_property(BLESSED_PROPERTY, int(blessed))
        blessing.set_string_custom_property(MODEL_PROPERTY, model.uri)
        blessing.set_int_custom_property(MODEL_ID_PROPERTY, model.id)
        blessing.set_string_custom_property(BASELINE_PROPERTY, champion.uri)
        blessing.set_int_custom_property(BASELINE_ID_PROPERTY, champion.id)
        blessing.set_string_custom_property(BLESS_ANYWAY_PROPERTY, reason)
