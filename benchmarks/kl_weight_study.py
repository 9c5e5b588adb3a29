"""Draws docs/kl_weight_study.png: what three KL weights do to reconstructions and samples.

python -m benchmarks.results "six_ways, weight 1e-4" six_ways "six_ways, weight 20" --keep DIR
python -m benchmarks.kl_weight_study DIR
"""

from pathlib import Path

import click
import numpy as np

_WEIGHTS = {"1e-4": "six_ways-weight-1e-4", "3": "six_ways", "20": "six_ways-weight-20"}
_PAGE = Path(__file__).parent.parent / "docs" / "kl_weight_study.png"
_COLUMNS, _SAMPLE_ROWS, _SEED = 8, 4, 0


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
def main(folder: Path) -> None:
    """Draws the picture from the pipeline roots in FOLDER."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(_WEIGHTS), figsize=(9, 2.9), layout="constrained")
    for axis, (weight, name) in zip(axes, _WEIGHTS.items(), strict=True):
        axis.imshow(panel(folder / name), cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"KL weight {weight}")
        axis.set_axis_off()
    figure.suptitle("Above: test images and their reconstructions. Below: samples from the prior.")
    figure.savefig(_PAGE, dpi=110)
    click.echo(_PAGE)


def panel(root: Path) -> np.ndarray:
    """Test images, reconstructions and prior samples of a run's model, as one image [h, w]."""
    import tensorflow as tf

    from components.image_binarizer.binarize import observe, parse_examples
    from components.image_binarizer.image_format import ImageFormat

    (examples,) = (root / "artifacts/ImageBinarizer/model_ready_examples").iterdir()
    (model_dir,) = (root / "artifacts/Trainer/model").glob("*/Format-Serving")
    image_format = ImageFormat.read(str(examples))
    files = tf.io.gfile.glob(f"{examples}/Split-test/*")
    records = next(iter(tf.data.TFRecordDataset(files, "GZIP").batch(_COLUMNS)))
    images = observe(parse_examples(records, image_format), image_format)
    model = tf.saved_model.load(str(model_dir))
    number = tf.constant(_COLUMNS * _SAMPLE_ROWS, tf.int64)
    seed = tf.constant(_SEED, tf.int64)
    samples = model.signatures["generate"](number=number, seed=seed)["mean"]
    reconstructions = model.signatures["reconstruct"](images=images)["mean"]
    gap = np.zeros((image_format.height // 2, _COLUMNS * image_format.width))
    rows = [_row(images), _row(reconstructions), gap]
    rows += [_row(samples[start : start + _COLUMNS]) for start in range(0, len(samples), _COLUMNS)]
    return np.concatenate(rows, axis=0)


def _row(images) -> np.ndarray:
    return np.concatenate([image[..., 0] for image in np.asarray(images)], axis=1)


if __name__ == "__main__":
    main()
