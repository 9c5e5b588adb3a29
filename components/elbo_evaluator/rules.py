"""The rules of the gate: what each asks, what it found, and whether it holds."""

import dataclasses
import math
from collections.abc import Iterator
from statistics import NormalDist

from components.elbo_evaluator.comparability import incomparable
from components.elbo_evaluator.config import GateConfig
from components.elbo_evaluator.measurements import Measurements

_NO_ELBO = (
    "the rate is infinite, as that of a point posterior (an autoencoder) always is, so there is no "
    "ELBO"
)
# Below this, samples and real images are too few to be compared.
_LEAST_SAMPLES = 150


@dataclasses.dataclass(frozen=True)
class Rule:
    """One rule and its verdict.

    Attributes:
      name: Short name.
      asks: What it asks, in words.
      passed: Whether it holds.
      message: Why it does not hold, in words; what was not asked and why, if it holds for that
        reason; else empty.
      asked: The threshold with its sign, as a table shows it.
      threshold: The number that decides.
      candidate: The candidate's number.
      champion: The champion's number.
      difference: Candidate less champion.
      standard_error: Of the difference, or of the candidate's number where there is none.
    """

    name: str
    asks: str
    passed: bool
    message: str = ""
    asked: str = ""
    threshold: float | None = None
    candidate: float | None = None
    champion: float | None = None
    difference: float | None = None
    standard_error: float | None = None


def decide(measured: Measurements, gate: GateConfig) -> tuple[Rule, ...]:
    """Every rule, in the order in which a person would ask.

    Args:
      measured: What was found out.
      gate: Thresholds. A number that is missing or NaN holds none.
    """
    rules = [_signatures(measured), *_comparable(measured)]
    scored = bool(measured.overall.candidate)
    # What could not be scored for a reason above has nothing to count.
    if scored or all(rule.passed for rule in rules):
        rules.append(_examples(measured, gate))
    if not scored:
        return tuple(rules)
    if not measured.has_elbo:
        return (*rules, Rule("elbo", "there is an ELBO", False, _NO_ELBO))
    rules += [_finite(measured, gate), _floor(measured, gate)]
    rules += _labels(measured, gate)
    # A champion without numbers is no reason to do without one.
    if all(rule.passed for rule in rules if rule.name == "comparable"):
        rules.append(_champion(measured, gate))
        rules += _labels_against_champion(measured, gate)
    rules.append(_collapse(measured, gate))
    if gate.max_kl_weight_factor is not None:
        rules.append(_kl_weight(measured, gate.max_kl_weight_factor, gate))
    return (*rules, *_samples(measured, gate))


def ignorant_elbo(num_pixels: int, likelihood: str) -> float:
    """The ELBO of a model that knows nothing, in nats per image: all values alike.

    Args:
      num_pixels: Values per image, channels counted.
      likelihood: A value is one of 2 (`bernoulli`), one of 256 (`discretized_logistic`), or of
        density 1 on [0, 1].
    """
    levels = {"bernoulli": 2, "discretized_logistic": 256}.get(likelihood, 1)
    return num_pixels * math.log(1.0 / levels)


def _signatures(measured: Measurements) -> Rule:
    return Rule(
        "signatures",
        "the model has the signatures of a VAE, and they agree with one another",
        not measured.complaints,
        "; ".join(measured.complaints),
    )


def _comparable(measured: Measurements) -> Iterator[Rule]:
    if measured.unit is None:
        return
    data, own = measured.image_format, measured.unit.image_format
    yield Rule(
        "test images",
        "the test images are as those that the model was trained on",
        own == data,
        "" if own == data else f"the model was trained on {own}, but the test images are {data}",
    )
    if measured.champion_unit is not None:
        reason = incomparable(measured.champion_unit, measured.unit)
        yield Rule("comparable", "its ELBO can be compared with the champion's", not reason, reason)


def _examples(measured: Measurements, gate: GateConfig) -> Rule:
    count = measured.num_examples
    passed = count >= gate.min_examples
    return Rule(
        "examples",
        "enough images were scored",
        passed,
        "" if passed else f"{count:,} test images were scored; {gate.min_examples:,} are asked for",
        asked=f"≥ {gate.min_examples:,}",
        threshold=gate.min_examples,
        candidate=count,
    )


def _finite(measured: Measurements, gate: GateConfig) -> Rule:
    share = measured.overall.candidate.get("non_finite_share", math.nan)
    weights = measured.non_finite_weights
    message = ""
    if weights:
        message = f"{weights} of the model's weights hold NaN or infinity"
    elif not share <= gate.max_non_finite_share:
        message = f"{share:.2%} of the test images have a score or code that is not finite"
    return Rule(
        "finite",
        "weights, scores and codes are finite numbers",
        not message,
        message,
        asked=f"≤ {gate.max_non_finite_share:g}",
        threshold=gate.max_non_finite_share,
        candidate=share,
    )


def _floor(measured: Measurements, gate: GateConfig) -> Rule:
    floor = _floor_of(gate.floor, measured)
    candidate = measured.overall.candidate
    elbo = candidate.get("elbo", math.nan)
    passed = elbo >= floor
    return Rule(
        "floor",
        "the ELBO is above its floor",
        passed,
        "" if passed else f"elbo is {elbo:.2f}, below its floor of {floor:.2f}",
        asked=f"≥ {floor:.2f}",
        threshold=floor,
        candidate=elbo,
        standard_error=candidate.get("elbo_standard_error"),
    )


def _floor_of(floor: float | None, measured: Measurements) -> float:
    if floor is not None:
        return floor
    return ignorant_elbo(measured.image_format.num_pixels, measured.training.get("likelihood", ""))


def _labels(measured: Measurements, gate: GateConfig) -> Iterator[Rule]:
    """One rule of all labels; it shows the label that is nearest to its floor."""
    labels = _labelled(measured)
    if not labels:
        return
    floor = _floor_of(gate.label_floor, measured)
    quantile = _quantile(gate.confidence, len(labels))
    worst = min(labels, key=lambda label: _ranked(labels[label].candidate.get("elbo")))
    failed = []
    for label, compared in labels.items():
        elbo = compared.candidate.get("elbo", math.nan)
        error = compared.candidate.get("elbo_standard_error", math.nan)
        if not elbo + quantile * error >= floor:
            failed.append(f"{label} ({elbo:.2f} ± {error:.2f})")
    message = f"the ELBO of label {', '.join(failed)} is below the floor of {floor:.2f}"
    yield Rule(
        "label floor",
        "no label's ELBO is below its floor by more than chance",
        not failed,
        message if failed else "",
        asked=f"≥ {floor:.2f}",
        threshold=floor,
        candidate=labels[worst].candidate.get("elbo"),
        standard_error=labels[worst].candidate.get("elbo_standard_error"),
    )


def _champion(measured: Measurements, gate: GateConfig) -> Rule:
    gain, error = measured.overall.gain
    margin = _quantile(gate.confidence) * error
    found = f"{gain:+.2f} ± {error:.2f}"
    comparison = "significantly_better" if measured.is_first else gate.comparison
    least = 0.0 if measured.is_first else gate.min_improvement
    if comparison == "no_worse":
        threshold, passed = -gate.tolerance, _bearable(gain, margin, gate.tolerance)
        asks = f"it does not lose more than {gate.tolerance:g} against the champion, but by chance"
        message = (
            f"elbo differs from the champion's by {found}, a significant loss of more than the "
            f"{gate.tolerance:g} that is let pass"
        )
    elif comparison == "better":
        threshold, passed = least, gain >= least
        asks = f"it gains at least {least:g} over the champion"
        message = f"elbo differs from the champion's by {found}; at least {least:+.2f} is asked for"
    else:
        threshold, passed = least, gain - margin > least
        other = "independent pixels" if measured.is_first else "the champion"
        asks = f"it gains significantly more than {least:g} over {other}"
        message = (
            f"elbo differs from that of {other} by {found}, which is not significantly more than "
            f"{least:+.2f}"
        )
    return Rule(
        "champion",
        asks,
        passed,
        "" if passed else message,
        asked=f"≥ {threshold:+.2f}"
        if comparison != "significantly_better"
        else f"> {threshold:+.2f}",
        threshold=threshold,
        candidate=measured.overall.candidate.get("elbo"),
        champion=measured.overall.champion.get("elbo"),
        difference=gain,
        standard_error=error,
    )


def _labels_against_champion(measured: Measurements, gate: GateConfig) -> Iterator[Rule]:
    """One rule of all labels; it shows the label that loses most."""
    labels = _labelled(measured)
    if not labels:
        return
    quantile = _quantile(gate.confidence, len(labels))
    worst = min(labels, key=lambda label: _ranked(labels[label].gain[0]))
    failed = []
    for label, compared in labels.items():
        gain, error = compared.gain
        if not _bearable(gain, quantile * error, gate.label_tolerance):
            failed.append(f"{label} ({gain:+.2f} ± {error:.2f})")
    message = (
        f"elbo differs from the champion's by a significant loss of more than "
        f"{gate.label_tolerance:g} for label {', '.join(failed)}"
    )
    gain, error = labels[worst].gain
    yield Rule(
        "labels",
        f"no label loses more than {gate.label_tolerance:g} against the champion, but by chance",
        not failed,
        message if failed else "",
        asked=f"≥ {-gate.label_tolerance:+.2f}",
        threshold=-gate.label_tolerance,
        candidate=labels[worst].candidate.get("elbo"),
        champion=labels[worst].champion.get("elbo"),
        difference=gain,
        standard_error=error,
    )


def _collapse(measured: Measurements, gate: GateConfig) -> Rule:
    candidate = measured.overall.candidate
    share = candidate.get("collapsed_share", math.nan)
    passed = share <= gate.max_collapsed_share
    active = candidate.get("active_units", math.nan)
    return Rule(
        "collapse",
        "enough latent dimensions tell something about the image",
        passed,
        ""
        if passed
        else f"{share:.0%} of the latent dimensions are collapsed ({active:.0f} are active); at "
        f"most {gate.max_collapsed_share:.0%} may be",
        asked=f"≤ {gate.max_collapsed_share:g}",
        threshold=gate.max_collapsed_share,
        candidate=share,
        champion=measured.overall.champion.get("collapsed_share"),
    )


def _kl_weight(measured: Measurements, factor: float, gate: GateConfig) -> Rule:
    asks = "it behaves as if trained at the KL weight that it says"
    declared = measured.declared_kl_weight
    if math.isnan(declared):
        return Rule("kl weight", asks, True, "not asked: its loss was not that of a KL weight")
    weight = measured.overall.candidate.get("implied_kl_weight", math.nan)
    error = measured.overall.candidate.get("implied_kl_weight_standard_error", math.nan)
    margin = _quantile(gate.confidence) * error
    passed = weight + margin >= declared / factor and weight - margin <= declared * factor
    return Rule(
        "kl weight",
        asks,
        passed,
        ""
        if passed
        else f"it behaves as if trained at a KL weight of {weight:.3g} ± {error:.2g}, but says "
        f"{declared:g}",
        asked=f"{declared / factor:.2g} to {declared * factor:.2g}",
        threshold=factor,
        candidate=weight,
        standard_error=error,
    )


def _samples(measured: Measurements, gate: GateConfig) -> Iterator[Rule]:
    asked = {
        "sample distance": "samples are nearer to real images than those of independent pixels",
        "sample coverage": "samples are as varied as real images",
        "sample classes": "samples show every class of image",
    }
    samples = measured.samples
    if samples is None:
        message = "there are no samples from the prior with finite pixels to compare"
        yield Rule("sample distance", asked["sample distance"], False, message)
        return
    not_asked = _not_asked_of_samples(measured, gate)
    if not_asked:
        yield Rule("sample distance", asked["sample distance"], True, f"not asked: {not_asked}")
        return
    if gate.max_frechet_ratio is not None:
        ratio = samples.frechet_ratio
        passed = ratio <= gate.max_frechet_ratio
        yield Rule(
            "sample distance",
            asked["sample distance"],
            passed,
            ""
            if passed
            else f"the Frechet distance of its samples from real images is {ratio:.2f} times that "
            f"of independent pixels; at most {gate.max_frechet_ratio:g} may be",
            asked=f"≤ {gate.max_frechet_ratio:g}",
            threshold=gate.max_frechet_ratio,
            candidate=ratio,
        )
    if gate.min_coverage is not None:
        passed = samples.coverage >= gate.min_coverage
        yield Rule(
            "sample coverage",
            asked["sample coverage"],
            passed,
            ""
            if passed
            else f"only {samples.coverage:.0%} of the real images have a sample among their "
            f"neighbours; {gate.min_coverage:.0%} are asked for",
            asked=f"≥ {gate.min_coverage:g}",
            threshold=gate.min_coverage,
            candidate=samples.coverage,
        )
    missing = samples.missing_classes
    passed = len(missing) <= gate.max_missing_classes
    yield Rule(
        "sample classes",
        asked["sample classes"],
        passed,
        "" if passed else f"its samples hardly show class {', '.join(map(str, missing))}",
        asked=f"≤ {gate.max_missing_classes}",
        threshold=gate.max_missing_classes,
        candidate=len(missing),
    )


def _not_asked_of_samples(measured: Measurements, gate: GateConfig) -> str:
    """Why samples cannot be judged on this data, whatever the model; empty if they can."""
    if not measured.image_format.is_binary:
        return "means of grey images are blurred by right, and draws of them noisy"
    if measured.samples.num_images < _LEAST_SAMPLES:
        return f"{measured.samples.num_images} images are too few to tell"
    ideal = measured.training_images
    if (
        ideal.frechet_ratio > (gate.max_frechet_ratio or math.inf)
        or ideal.coverage < (gate.min_coverage or 0.0)
        or ideal.missing_classes
    ):
        return "the training images themselves are unlike the test images"
    return ""


def _labelled(measured: Measurements) -> dict:
    """Labels with enough images for a standard error."""
    return {
        label: compared
        for label, compared in sorted(measured.by_label.items())
        if label >= 0 and compared.candidate.get("example_count", 0) > 1
    }


def _bearable(gain: float, margin: float, tolerance: float) -> bool:
    """Whether a loss is within the tolerance, or no more than chance."""
    return not math.isnan(margin) and (gain >= -tolerance or gain + margin >= 0)


def _quantile(confidence: float, tests: int = 1) -> float:
    """Of the standard normal; several tests share what is left to chance (Bonferroni)."""
    return NormalDist().inv_cdf(1.0 - (1.0 - confidence) / tests)


def _ranked(value: float | None) -> float:
    return -math.inf if value is None or math.isnan(value) else value
