import json

from google.protobuf import json_format
from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.components.evaluator.component import Evaluator
from tfx.types import standard_artifacts

from components.elbo_evaluator import GateConfig, elbo_evaluator
from components.elbo_evaluator.eval_config import build_eval_config


def test_construction():
    examples = types.Channel(type=standard_artifacts.Examples)
    model = types.Channel(type=standard_artifacts.Model)
    champion = types.Channel(type=standard_artifacts.Model)
    gate = GateConfig(min_improvement=1.0)
    component = elbo_evaluator(
        examples, model, champion, gate, num_pixels=64, likelihood="gaussian"
    )
    assert isinstance(component, Evaluator)
    assert component.inputs["examples"] is examples
    assert component.inputs["model"] is model
    assert component.inputs["baseline_model"] is champion
    outputs = {name: channel.type_name for name, channel in component.outputs.items()}
    assert outputs == {"evaluation": "ModelEvaluation", "blessing": "ModelBlessing"}
    assert json.loads(component.exec_properties["example_splits"]) == ["test"]
    config = json_format.Parse(component.exec_properties["eval_config"], config_pb2.EvalConfig())
    assert config == build_eval_config(gate, num_pixels=64, likelihood="gaussian")
