"""The `digits` data set: 1,797 real handwritten digits that need no download."""

import tensorflow_datasets as tfds

_DARKEST = 16  # scikit-learn stores the digits with values from 0 to 16.


class Digits(tfds.core.GeneratorBasedBuilder):
    """The test part of the UCI optical digits, as scikit-learn bundles it.

    One split, `train`: 1,797 images of 8x8 pixels, uint8 from 0 to 255, with labels 0 to 9.
    Importing this module registers the builder, so that `tfds.builder("digits")` finds it.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012 (TFDS declares it as a plain dict)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Handwritten digits of 8x8 pixels, from scikit-learn's `load_digits`.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # Nothing is downloaded.
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        import numpy as np
        from sklearn import datasets

        digits = datasets.load_digits()
        images = np.rint(digits.images * (255 / _DARKEST)).astype(np.uint8)[..., np.newaxis]
        for index, (image, label) in enumerate(zip(images, digits.target, strict=True)):
            yield f"{index:04d}", {"image": image, "label": int(label)}
