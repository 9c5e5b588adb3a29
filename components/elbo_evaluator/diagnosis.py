"""What is probably wrong with a model, in words that a person can act on."""

import math
from collections.abc import Iterator

from components.elbo_evaluator.measurements import Measurements
from components.elbo_evaluator.rules import Rule

# A weight is taken for a suspected one within this factor.
_NEAR = 1.4
_MUCH = 3.0
# Of the mean image's squared error: what a model has that has hardly learnt anything.
_LITTLE = 0.95
# Nats per image, of a posterior that hardly differs from the prior.
_LOW_RATE = 2.0


def diagnose(measured: Measurements, rules: tuple[Rule, ...]) -> tuple[str, ...]:
    """Sentences, the gravest first; none if nothing is noticed.

    Args:
      measured: What was found out.
      rules: The verdict on each rule.
    """
    candidate = measured.overall.candidate
    if not candidate:
        return ()
    share = candidate.get("non_finite_share", 0.0)
    if not measured.has_elbo:
        return ("An autoencoder: it has no prior to draw from, so its decoder cannot generate.",)
    if share > 0 or measured.non_finite_weights:
        return (_non_finite(share),)
    pixels = _pixels(measured)
    if pixels:
        # Codes of such a model mean nothing, and neither do the weight and the classes below.
        return (pixels,)
    if candidate.get("collapsed_share") == 1.0:
        return (_collapsed(measured),)
    if candidate.get("mse", math.nan) > _LITTLE * measured.mean_image_mse:
        return (
            "Untrained, or hardly: reconstructions are no nearer to the images than the mean image "
            "is. Look at the learning rate and at the number of epochs.",
        )
    return (*_weight(measured), *_regularisation(measured), *_part(measured, rules))


def _non_finite(share: float) -> str:
    if 0 < share < 1:
        return (
            f"Broken on some images: {share:.2%} of them get a score or code that is not finite. "
            "Look at those images, and at scales that may become 0."
        )
    return (
        "Not finite: a weight is NaN, so training diverged or the file was damaged. Lower the "
        "learning rate or set gradient_clip_norm, and train again."
    )


def _pixels(measured: Measurements) -> str:
    candidate = measured.overall.candidate
    mse, own = measured.mean_image_mse, candidate.get("mse", math.nan)
    if candidate.get("rounded_accuracy", 1.0) < 0.5:
        return (
            f"Inverted pixels: only {candidate['rounded_accuracy']:.0%} of the reconstructed "
            "pixels are right. Look for 1 - x, or x < threshold, between the data and the decoder."
        )
    if own > 1.1 * mse:
        return (
            f"Broken decoder: its reconstructions (MSE {own:.3f}) are further from the images than "
            f"the mean image is ({mse:.3f}). Untrained, trained on other images, or pixels in "
            "another order."
        )
    return ""


def _collapsed(measured: Measurements) -> str:
    candidate = measured.overall.candidate
    gain = measured.overall.gain[0]
    if measured.is_first and not gain > 0:
        return (
            "Untrained, or a decoder that ignores the code: no latent dimension tells anything "
            "about the image, and the ELBO is no better than that of independent pixels."
        )
    return (
        f"Posterior collapse: the rate is {candidate.get('rate', math.nan):.2f} nats and no latent "
        "dimension is active, so all samples are alike. The KL weight is far too large, pixels are "
        "averaged instead of summed, or the decoder does not need the code; try kl_warmup_epochs."
    )


def _weight(measured: Measurements) -> Iterator[str]:
    """What a KL weight other than the declared one looks like."""
    weight = measured.overall.candidate.get("implied_kl_weight", math.nan)
    declared = measured.declared_kl_weight
    ratio = weight / declared
    size = measured.training.get("latent_size", 0)
    pixels = measured.image_format.num_pixels
    if math.isnan(ratio) or 1 / _NEAR < ratio < _NEAR:
        return
    if _near(ratio, pixels):
        yield (
            f"Averaged loss: it behaves as if trained at {ratio:.0f} times the KL weight, about "
            f"the {pixels:,} pixels: the distortion is averaged over pixels instead of summed."
        )
    elif _near(ratio, 2.0):
        yield "KL counted twice: it behaves as if trained at twice the KL weight."
    elif size > 1 and _near(ratio * size, 1.0):
        yield (
            f"Averaged KL: it behaves as if trained at 1/{1 / ratio:.0f} of the KL weight, about "
            f"one over the {size} dimensions: the rate is averaged over them instead of summed."
        )
    elif ratio < 0.05:
        yield (
            "KL dropped: the rate hardly reached the loss. Look for a distribution that was turned "
            "into a sample too early, and for add_loss outside call."
        )
    elif _near(weight, 1.0):
        yield (
            f"Ineffective KL weight: it behaves as if trained at weight 1, not {declared:g}. Look "
            "for add_loss outside call, or a weight that was set after the model was built."
        )


def _regularisation(measured: Measurements) -> Iterator[str]:
    candidate = measured.overall.candidate
    weight = candidate.get("implied_kl_weight", math.nan)
    rate = candidate.get("rate", math.nan)
    if weight < 1 / _MUCH:
        yield (
            f"Under-regularised: a rate of {rate:.1f} nats at a KL weight of about {weight:.2g}. "
            "Codes of images lie where the prior has little mass, so samples from it look wrong; "
            "train at a KL weight nearer to 1."
        )
    elif weight > _MUCH or rate < _LOW_RATE:
        yield (
            f"Over-regularised: a rate of {rate:.1f} nats at a KL weight of about {weight:.2g}. "
            "Samples are blurred and alike; train at a KL weight nearer to 1."
        )
    collapsed = candidate.get("collapsed_share", 0.0)
    if 0.5 < collapsed < 1:
        active = candidate.get("active_units", math.nan)
        yield (
            f"Collapsed dimensions: only {active:.0f} are active. A smaller latent_size would do "
            "as well; kl_warmup_epochs or free_bits would use more."
        )


def _part(measured: Measurements, rules: tuple[Rule, ...]) -> Iterator[str]:
    """Signs of training on a part of the data, where samples can be judged."""
    if any(rule.name == "sample classes" and not rule.passed for rule in rules):
        missing = measured.samples.missing_classes
        yield (
            f"Trained on a part of the classes, perhaps: samples hardly show class "
            f"{', '.join(map(str, missing))}. Look at the training split."
        )


def _near(value: float, suspected: float) -> bool:
    return suspected / _NEAR < value < suspected * _NEAR
