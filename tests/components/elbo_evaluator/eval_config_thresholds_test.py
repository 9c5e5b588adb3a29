import math

import pytest
from google.protobuf import text_format
from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.types import standard_artifacts

from components.elbo_evaluator import ElboEvaluator
from components.elbo_evaluator.measurements import Comparison
from components.elbo_evaluator.thresholds import decide_thresholds, read_thresholds
from components.errors import InputError
from tests.components.elbo_evaluator.made_up import measured


def _config(text: str) -> config_pb2.EvalConfig:
    return text_format.Parse(text, config_pb2.EvalConfig())


_PSNR = _config(
    """metrics_specs { thresholds { key: "psnr" value {
         value_threshold { lower_bound { value: 15 } upper_bound { value: 40 } }
         change_threshold { absolute { value: -0.5 } direction: HIGHER_IS_BETTER } } } }"""
)
_MSE = _config(
    """metrics_specs { metrics { class_name: "mse" threshold {
         value_threshold { upper_bound { value: 0.1 } }
         change_threshold { absolute { value: -0.01 } direction: LOWER_IS_BETTER } } } }"""
)


def _decide(config, candidate, champion):
    comparison = Comparison(candidate, champion)
    (rule,) = decide_thresholds(measured(overall=comparison), read_thresholds(config))
    return rule


@pytest.mark.parametrize(
    ("config", "candidate", "champion", "message"),
    [
        (_PSNR, {"psnr": 20.0}, {"psnr": 20.4}, ""),
        (_PSNR, {"psnr": 20.0}, {}, ""),
        (_PSNR, {"psnr": 14.9}, {}, "psnr is 14.9, not from 15 to 40"),
        (_PSNR, {"psnr": 41.0}, {}, "psnr is 41, not from 15 to 40"),
        (_PSNR, {"psnr": math.nan}, {}, "psnr is nan, not from 15 to 40"),
        (_PSNR, {}, {}, "psnr is nan, not from 15 to 40"),
        (
            _PSNR,
            {"psnr": 20.0},
            {"psnr": 20.6},
            "psnr differs from the champion's by -0.6; a gain of at least -0.5 is asked for",
        ),
        (_MSE, {"mse": 0.05}, {"mse": 0.07}, ""),
        (
            _MSE,
            {"mse": 0.065},
            {"mse": 0.07},
            "mse differs from the champion's by -0.005; a gain of at least +0.01 is asked for",
        ),
    ],
)
def test_thresholds_are_rules(config, candidate, champion, message):
    rule = _decide(config, candidate, champion)
    assert (rule.passed, rule.message) == (not message, message)


_REFUSED = {
    "": "has no threshold",
    'metrics_specs { metrics { class_name: "elbo" } }': "has no threshold",
    """metrics_specs { metrics { class_name: "MeanPrediction" threshold {
         value_threshold { lower_bound { value: -100 } } } } }""": "without them is 0.0",
    """metrics_specs { thresholds { key: "elbo" value {
         value_threshold { lower_bound { value: -100 } }
         change_threshold { relative { value: 0.01 } } } } }""": "inverted for a negative score",
    """metrics_specs { thresholds { key: "elbo" value {
         change_threshold { absolute { value: 0 } } } } }""": "a change threshold alone",
    'metrics_specs { thresholds { key: "elbo" value { value_threshold { } } } }': "has no bound",
    """metrics_specs { thresholds { key: "auc" value {
         value_threshold { lower_bound { value: 1 } } } } }""": "has no number 'auc'",
    """metrics_specs { metrics { class_name: "elbo" per_slice_thresholds {
         threshold { value_threshold { lower_bound { value: 1 } } } } } }""": "by slice",
}


@pytest.mark.parametrize("text", _REFUSED)
def test_a_configuration_that_is_of_no_use_is_refused_at_construction(text):
    channels = {
        "examples": types.Channel(type=standard_artifacts.Examples),
        "model": types.Channel(type=standard_artifacts.Model),
        "champion": types.Channel(type=standard_artifacts.Model),
    }
    with pytest.raises(InputError, match=_REFUSED[text]):
        ElboEvaluator(**channels, eval_config=_config(text))
