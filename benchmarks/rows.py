"""The rows of docs/results.md: which command, and what was published for the like."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """A command of `tfx-vae run`, and the figure to hold its result against.

    Attributes:
      recipe: Its --recipe.
      published: The figure in the source, negated where that has a loss; empty if it has none.
      settings: Its --set options, FIELD=VALUE.
    """

    recipe: str
    published: str = ""
    settings: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """The options of the command besides the recipe."""
        return tuple(word for setting in self.settings for word in ("--set", setting))


def _on_mnist(recipe: str, published: str = "") -> Row:
    return Row(recipe, published, ("dataset=mnist",))


def _few_horses(recipe: str, published: str = "") -> Row:
    # A folder of 112 of the 1,283 photographs: --dataset FOLDER.
    return Row(recipe, published, ("splits.test=validation",))


_IWAE = "IW-5000: −86.76 (VAE), −84.78 (IWAE, K = 50; Burda et al. 2016)"

ROWS = {
    "digits": Row("digits"),
    "mnist": Row("mnist", "none for threshold 0.5"),
    "mnist_2d": Row("mnist_2d", "−155.91 (CVAE tutorial, 10 epochs)"),
    "mnist_dynamic": Row("mnist_dynamic", _IWAE),
    "cvae_2d": Row("cvae_2d", "−155.91 (CVAE tutorial)"),
    "six_ways": Row("six_ways", "pictures only"),
    "six_ways, weight 1": Row("six_ways", "", ("training.kl_weight=1",)),
    "six_ways, weight 1e-4": Row("six_ways", "pictures only", ("training.kl_weight=1e-4",)),
    "six_ways, weight 20": Row("six_ways", "pictures only", ("training.kl_weight=20",)),
    "dense_gaussian, 2": Row("dense_gaussian", "pictures only", ("training.latent_size=2",)),
    "dense_gaussian, 5": Row("dense_gaussian", "pictures only", ("training.latent_size=5",)),
    "dense_gaussian": Row("dense_gaussian", "pictures only"),
    "dense_gaussian, 20": Row("dense_gaussian", "pictures only", ("training.latent_size=20",)),
    "dense_keras": Row("dense_keras", "none"),
    "horses_conv, 112 images": _few_horses("horses_conv", "none"),
    "horses_conv_vae, 112 images": _few_horses("horses_conv_vae"),
    "fashion_dense on MNIST": _on_mnist("fashion_dense", "none"),
    "fashion_tfp on MNIST, 2 epochs": Row(
        "fashion_tfp", "none", ("dataset=mnist", "training.epochs=2")
    ),
    "fashion_dense": Row("fashion_dense", "none"),
    "fashion_tfp": Row("fashion_tfp", "none"),
    "fashion_mnist": Row(
        "fashion_mnist",
        "IW-5000: −228.70 (VAE; Norouzi et al. 2020, Exemplar VAE)",
        ("gate.importance_samples=5000", "gate.importance_images=null"),
    ),
    "horses_conv": Row("horses_conv", "none"),
    "horses_conv_vae": Row("horses_conv_vae"),
    "cifar10": Row("cifar10", "none for one layer"),
    "horses_or_humans": Row("horses_or_humans"),
}
