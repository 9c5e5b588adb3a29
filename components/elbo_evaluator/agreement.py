"""Whether a model's signatures tell the same story.

The gate decides by what `evaluate` says, but what is served is `decode`. A model whose decoder was
exported inverted, permuted or with other weights must not pass by a good `evaluate`, nor must one
whose `evaluate` reports something other than an ELBO.
"""

from collections.abc import Mapping

import numpy as np

from components.elbo_evaluator.scored_model import ScoredModel
from components.errors import InputError

# Float32 sums of the same numbers in another order, in kernels of another batch size.
_RELATIVE = 2e-3
_ABSOLUTE = 1e-3
# Below this, a float32 probability does not tell its logit well enough.
_LEAST_PROBABILITY = 1e-4
# Standard errors that draws of a posterior may be from its variance; chance alone never does it.
_STANDARD_ERRORS = 6.0
_SEED = 0
_NUM_GENERATED = 16

# Names of values to their number of axes, of which the first is that of the images.
_SCORES = {
    **dict.fromkeys(("elbo", "distortion", "rate", "squared_error", "rounded_accuracy"), 1),
    **dict.fromkeys(("code", "posterior_mean", "posterior_variance"), 2),
}
_COSTLY_SCORES = dict.fromkeys(("importance_weighted_bound", "distortion_slope", "rate_slope"), 1)


def disagreements(model: ScoredModel, examples: np.ndarray, images: np.ndarray) -> list[str]:
    """Compares a model's signatures on some images.

    Args:
      model: With the signatures of a candidate.
      examples: Serialized Examples, object array [B], B at least 1.
      images: The same as images, float32 [B, H, W, C].

    Returns:
      One line for each thing that does not hold; none for a model whose signatures agree. Values
      that are finite on neither side are left to the other rules.

    Raises:
      InputError: If a signature fails or gives something else than it should, so that nothing
        can be scored.
    """
    try:
        scores = model.score(examples)
        _check_shapes("evaluate", scores, _SCORES, len(examples))
        # Called once, so that what fails does so here.
        costly = {**model.bound(examples[:1], 1), **model.slopes(examples[:1])}
        _check_shapes("importance_weighted_bound or kl_weight_slopes", costly, _COSTLY_SCORES, 1)
        return _compare(model, scores, images)
    except InputError:
        raise
    # TensorFlow raises what it likes for inputs that a signature does not take.
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0] if lines else ''}"
        raise InputError(f"a signature of {model.path} fails ({reason})") from error


def _check_shapes(
    signature: str, values: Mapping[str, np.ndarray], axes: Mapping[str, int], count: int
) -> None:
    missing = [name for name in axes if name not in values]
    if missing:
        raise InputError(f"{signature} gives no {', '.join(missing)}")
    for name, rank in axes.items():
        shape = values[name].shape
        if len(shape) != rank or shape[0] != count:
            raise InputError(f"{signature} gives {name} of shape {list(shape)} for {count} images")


def _compare(model: ScoredModel, scores: Mapping[str, np.ndarray], images: np.ndarray) -> list[str]:
    decoded = model.call("decode", z=scores["code"])["mean"]
    if decoded.shape != images.shape:
        raise InputError(
            f"decode gives images of {list(decoded.shape[1:])}, not {list(images.shape[1:])}"
        )
    encoded = model.call("encode", images=images)
    generated = model.call("generate", number=np.int64(_NUM_GENERATED), seed=np.int64(_SEED))
    training = model.training
    pairs = {
        "ELBO and -(distortion + rate)": (
            scores["elbo"],
            -(scores["distortion"] + scores["rate"]),
        ),
        "the squared errors of evaluate and of decode": (
            scores["squared_error"],
            np.square(decoded - images).mean(axis=(1, 2, 3)),
        ),
        "the posterior means of evaluate and of encode": (
            scores["posterior_mean"],
            encoded["mean"],
        ),
        "the posterior variances of evaluate and of encode": (
            scores["posterior_variance"],
            encoded["variance"],
        ),
        "reconstruct and decode at the posterior mean": (
            model.call("reconstruct", images=images)["mean"],
            model.call("decode", z=encoded["mean"])["mean"],
        ),
        "generate and decode at the same codes": (
            generated["mean"],
            model.call("decode", z=generated["z"])["mean"],
        ),
    }
    if training.get("likelihood") == "bernoulli":
        probability = np.where(images > 0.5, decoded, 1.0 - decoded).astype(np.float64)
        clear = ~(probability < _LEAST_PROBABILITY).any(axis=(1, 2, 3))
        pairs["the distortion and the cross-entropy of what decode gives"] = (
            scores["distortion"][clear],
            -np.log(probability[clear]).sum(axis=(1, 2, 3)),
        )
    standard = training.get("prior") == "standard_normal"
    if standard and training.get("posterior") == "diagonal":
        mean, variance = scores["posterior_mean"], scores["posterior_variance"]
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = 0.5 * (np.square(mean) + variance - 1.0 - np.log(variance)).sum(axis=1)
        pairs["the rate and the KL divergence of the posteriors"] = (scores["rate"], rate)
    found = [f"{name} differ: {found}" for name, pair in pairs.items() if (found := _differ(*pair))]
    return found + _wrong_spread(scores, training.get("posterior") == "diagonal")


def _wrong_spread(scores: Mapping[str, np.ndarray], independent: bool) -> list[str]:
    """Says whether codes are no draws from the posterior, whose standardised squares average 1."""
    deviations = np.square(scores["code"] - scores["posterior_mean"])
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = deviations / scores["posterior_variance"]
    squares = squares[np.isfinite(squares).all(axis=1)]
    if not len(squares):
        return []
    # Dimensions that depend on each other are as good as one.
    draws = squares.size if independent else len(squares)
    mean = float(squares.mean())
    if abs(mean - 1.0) <= _STANDARD_ERRORS * np.sqrt(2.0 / draws):
        return []
    return [f"codes are drawn with {mean:.3g} times the variance of the posterior"]


def _differ(one: np.ndarray, other: np.ndarray) -> str:
    """The values that differ most, or of which only one is finite; empty if none do."""
    if one.shape != other.shape:
        return f"shapes {list(one.shape)} and {list(other.shape)}"
    finite = np.isfinite(one)
    half = finite != np.isfinite(other)
    if half.any():
        return f"{one[half][0]:.4g} and {other[half][0]:.4g}"
    one, other = one[finite], other[finite]
    if not len(one):
        return ""
    excess = np.abs(one - other) - (_ABSOLUTE + _RELATIVE * np.maximum(np.abs(one), np.abs(other)))
    worst = int(np.argmax(excess))
    return f"{one[worst]:.4g} and {other[worst]:.4g}" if excess[worst] > 0 else ""
