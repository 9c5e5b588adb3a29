import dataclasses
import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.elbo_evaluator import GateConfig
from components.errors import InputError


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({"comparison": "beter"}, "Unknown comparison 'beter'; choose one of no_worse, better, "),
        ({"min_examples": 0}, "min_examples must be at least 1, not 0"),
        ({"importance_samples": 0}, "importance_samples must be at least 1, not 0"),
        ({"importance_images": 0}, "importance_images must be at least 1, not 0"),
        ({"sample_images": -1}, "sample_images must be at least 1, not -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"tolerance": -0.1}, "tolerance must not be negative, but is -0.1"),
        ({"label_tolerance": -1.0}, "label_tolerance must not be negative, but is -1.0"),
        ({"max_missing_classes": -1}, "max_missing_classes must not be negative, but is -1"),
        ({"max_non_finite_share": -0.1}, "max_non_finite_share must be a share from 0 to 1"),
        ({"max_collapsed_share": 1.1}, "max_collapsed_share must be a share from 0 to 1, not 1.1"),
        ({"min_coverage": 20}, "min_coverage must be a share from 0 to 1, not 20"),
        ({"confidence": 0.49}, "confidence must be from 0.5 to below 1, not 0.49"),
        ({"confidence": 1.0}, "confidence must be from 0.5 to below 1, not 1.0"),
        ({"max_kl_weight_factor": 1.0}, "max_kl_weight_factor must be above 1: 1.0"),
        ({"max_frechet_ratio": 0.0}, "max_frechet_ratio must be positive, not 0.0"),
    ],
)
def test_thresholds_that_make_no_sense(thresholds, message):
    with pytest.raises(InputError, match=message):
        GateConfig(**thresholds)


_FLOATS = [
    field.name
    for field in dataclasses.fields(GateConfig)
    if isinstance(field.default, float) or field.name in ("floor", "label_floor")
]


@pytest.mark.parametrize("name", _FLOATS)
def test_a_threshold_that_is_not_a_number(name):
    with pytest.raises(InputError, match=f"^{name} is not a number"):
        GateConfig(**{name: math.nan})


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({"floor": -math.inf}, "floor -inf would decide nothing: none takes that of a model that"),
        ({"floor": math.inf}, "floor inf would decide nothing"),
        ({"label_floor": -math.inf}, "label_floor -inf would decide nothing: none takes that of"),
        ({"tolerance": math.inf}, "tolerance inf would decide nothing: .* such as 0.75"),
        ({"label_tolerance": math.inf}, "label_tolerance inf would decide nothing: .* such as 5"),
        (
            {"comparison": "better", "min_improvement": -math.inf},
            "min_improvement -inf would decide nothing: it is a gain",
        ),
        (
            {"comparison": "better", "min_improvement": -1.0},
            "min_improvement -1.0 would bless a worse model every time; use comparison no_worse",
        ),
        (
            {"min_improvement": 1.0},
            "min_improvement asks for a gain, but the comparison no_worse for none; set comparison",
        ),
        (
            {"min_improvement": -1.0},
            "min_improvement asks for a gain, but the comparison no_worse for none",
        ),
        (
            {"max_non_finite_share": 1.0},
            "max_non_finite_share 1 would bless a model of NaN alone; use 0",
        ),
    ],
)
def test_a_gate_that_would_let_everything_through(thresholds, message):
    with pytest.raises(InputError, match=message):
        GateConfig(**thresholds)


@pytest.mark.parametrize(
    "thresholds",
    [
        {"floor": 0.0, "label_floor": -1e4},
        {"comparison": "better"},
        {"comparison": "significantly_better", "min_improvement": -0.5},
        {"tolerance": 0, "label_tolerance": 0.0, "confidence": 0.5},
        {"max_kl_weight_factor": None, "max_frechet_ratio": None, "min_coverage": None},
        {"importance_images": None},
        {"max_non_finite_share": 0.999, "max_collapsed_share": 1.0, "min_coverage": 0.0},
    ],
)
def test_thresholds_at_the_edge_of_sense(thresholds):
    gate = GateConfig(**thresholds)
    for name, value in thresholds.items():
        assert getattr(gate, name) == value


@given(
    floor=st.none() | st.floats(-1e5, 1e5),
    comparison=st.sampled_from(["better", "significantly_better"]),
    min_improvement=st.floats(0, 100),
    tolerance=st.floats(0, 100),
    importance_images=st.none() | st.integers(1, 10**6),
    min_coverage=st.none() | st.floats(0, 1),
)
def test_a_gate_survives_json(**thresholds):
    gate = GateConfig(**thresholds)
    assert GateConfig(**json.loads(json.dumps(dataclasses.asdict(gate)))) == gate


def test_importing_a_gate_imports_neither_tfx_nor_tensorflow():
    code = (
        "import sys; from components.elbo_evaluator import GateConfig; GateConfig(); "
        "print([m for m in ('tfx', 'tensorflow', 'apache_beam') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
