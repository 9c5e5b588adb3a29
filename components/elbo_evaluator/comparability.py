"""Whether the ELBOs of two models can be compared at all."""

import dataclasses

from components.image_binarizer.image_format import ImageFormat

_REMEDY = "start a new line of champions with --new-line, or keep both with another --serving-name"


@dataclasses.dataclass(frozen=True)
class ScoreUnit:
    """What a number of nats is about.

    Attributes:
      image_format: The images; other pixels have other probabilities.
      likelihood: What p(x|z) is; a density is no probability.
      dataset: Name of the data set; empty if it is not known, which matches any.
    """

    image_format: ImageFormat
    likelihood: str
    dataset: str = ""

    def __str__(self):
        dataset = f"{self.dataset}, " if self.dataset else ""
        return f"{dataset}{self.image_format}, likelihood {self.likelihood}"


def incomparable(champion: ScoreUnit, candidate: ScoreUnit) -> str:
    """Says why a champion's ELBO cannot be compared with a candidate's; empty if it can."""
    known = champion.dataset and candidate.dataset
    same = (
        champion.image_format == candidate.image_format
        and _family(champion.likelihood) == _family(candidate.likelihood)
        and (not known or champion.dataset == candidate.dataset)
    )
    if same:
        return ""
    return (
        f"the champion is a model of {champion}, but this is one of {candidate}, so their ELBOs "
        f"cannot be compared; {_REMEDY}"
    )


def _family(likelihood: str) -> str:
    """What likelihoods have in common if their ELBOs can be compared.

    The three Gaussians differ in how they come by a scale; all others are on their own.
    """
    return "gaussian" if likelihood.startswith("gaussian") else likelihood
