"""The stock TFX Evaluator, wired as the gate."""

from tfx import types
from tfx.components.evaluator.component import Evaluator

from components.elbo_evaluator.config import GateConfig
from components.elbo_evaluator.eval_config import build_eval_config
from components.trainer.config import Likelihood


def elbo_evaluator(
    examples: types.BaseChannel,
    model: types.BaseChannel,
    champion: types.BaseChannel,
    gate: GateConfig,
    num_pixels: int,
    likelihood: Likelihood,
) -> Evaluator:
    """A TFX Evaluator that blesses a candidate whose ELBO passes the gate.

    Args:
      examples: Model-ready Examples with a `test` split.
      model: The candidate.
      champion: The model to beat.
      gate: Thresholds.
      num_pixels: Values per image, channels counted.
      likelihood: What the candidate's p(x|z) is; with `num_pixels` it sets the default floor.

    Returns:
      A component with the outputs `evaluation` (metrics overall and by label) and `blessing`.
    """
    return Evaluator(
        examples=examples,
        model=model,
        baseline_model=champion,
        eval_config=build_eval_config(gate, num_pixels, likelihood),
        example_splits=["test"],
    )
