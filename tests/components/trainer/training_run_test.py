"""A whole training: files, best weights, resumption after a kill, and a loss that is no number."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.errors import InputError
from components.image_binarizer import ImageFormat
from components.trainer import TrainingConfig
from components.trainer.run_fn import train
from tests.example_files import binarize_examples

CONFIG = TrainingConfig(
    architecture="dense", latent_size=2, epochs=4, batch_size=100, learning_rate=3e-3
)


def run(examples, folder, config=CONFIG, run_name="1", write=lambda line: None, **kwargs):
    return train(
        config,
        [f"{examples.uri}/Split-train/*"],
        [f"{examples.uri}/Split-eval/*"],
        str(folder / "model" / run_name),
        str(folder / "model_run" / run_name),
        write=write,
        **kwargs,
    )


def killing(after_epoch):
    """A line writer that ends the process's training as Ctrl-C would."""

    def write(line):
        if line.strip().startswith(f"epoch {after_epoch}/"):
            raise KeyboardInterrupt

    return write


def losses(model_run):
    with open(model_run / "history.csv", newline="") as file:
        return [(int(row["epoch"]), float(row["loss"])) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def uninterrupted(ready_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    lines = []
    history = run(ready_digits, folder, write=lines.append)
    return folder, history, lines


def test_leaves_logs_and_a_model(uninterrupted):
    folder, history, _ = uninterrupted
    assert (folder / "model" / "1" / "saved_model.pb").is_file()
    model_run = folder / "model_run" / "1"
    assert list(model_run.glob("tensorboard/*/events*"))
    assert [epoch for epoch, _ in losses(model_run)] == [0, 1, 2, 3]
    assert history["val_elbo"][-1] > history["val_elbo"][0] + 10


def test_prints_a_line_an_epoch_with_elbo_and_speed(uninterrupted):
    _, history, lines = uninterrupted
    assert len(lines) == 4
    assert f"ELBO {history['elbo'][0]:8.2f}" in lines[0]
    assert f"validation {history['val_elbo'][0]:8.2f}" in lines[0]
    assert "images/s" in lines[0]


def test_the_backup_is_gone_when_training_has_ended(uninterrupted):
    assert not (uninterrupted[0] / "model_run" / "1" / "backup" / "chief").exists()


def test_exports_the_epoch_with_the_best_validation_elbo(ready_digits, tmp_path):
    # A rate this high ruins the model after it was good: the last epoch is not the best.
    config = TrainingConfig(
        architecture="dense", latent_size=2, epochs=6, batch_size=100, learning_rate=0.08
    )
    history = run(ready_digits, tmp_path, config)
    best = json.loads((tmp_path / "model_run/1/best/best.json").read_text())
    values = history["val_elbo"]
    assert best == {"epoch": int(np.argmax(values)) + 1, "val_elbo": pytest.approx(max(values))}
    signature = tf.saved_model.load(str(tmp_path / "model" / "1")).signatures["evaluate"]
    files = tf.io.gfile.glob(f"{ready_digits.uri}/Split-eval/*")
    records = list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
    exported = signature(examples=tf.constant(records))["elbo"].numpy()
    # The same images with five codes each instead of one: equal up to sampling noise.
    assert exported.mean() == pytest.approx(max(values), abs=3.0)


def test_a_killed_training_goes_on_and_ends_as_if_never_killed(
    ready_digits, uninterrupted, tmp_path
):
    with pytest.raises(KeyboardInterrupt):
        run(ready_digits, tmp_path, write=killing(3))
    assert not (tmp_path / "model" / "1").exists()
    lines = []
    run(ready_digits, tmp_path, run_name="2", write=lines.append)
    assert lines[0].strip() == "resuming an interrupted training"
    # Epoch 3 was not backed up when it was killed, so it is done again.
    assert [line.split()[1] for line in lines[1:]] == ["3/4", "4/4"]
    resumed = dict(losses(tmp_path / "model_run" / "2"))
    for epoch, loss in losses(uninterrupted[0] / "model_run" / "1"):
        assert resumed[epoch] == pytest.approx(loss, rel=1e-4)
    lines.clear()
    run(ready_digits, tmp_path, run_name="3", write=lines.append)
    assert len(lines) == 4, "what was resumed and has ended is resumed again"


@pytest.mark.parametrize("change", ["config", "code"])
def test_a_killed_training_of_something_else_is_not_resumed(ready_digits, tmp_path, change):
    with pytest.raises(KeyboardInterrupt):
        run(ready_digits, tmp_path, write=killing(2))
    lines = []
    config = CONFIG if change == "code" else TrainingConfig(**{**vars(CONFIG), "kl_weight": 2.0})
    kwargs = {"code_fingerprint": "edited"} if change == "code" else {}
    run(ready_digits, tmp_path, config, run_name="2", write=lines.append, **kwargs)
    assert len(lines) == 4


def test_a_finished_training_is_not_resumed(ready_digits, uninterrupted):
    folder, _, _ = uninterrupted
    lines = []
    run(ready_digits, folder, run_name="2", write=lines.append)
    assert len(lines) == 4


def test_a_loss_that_is_not_finite_stops_with_a_remedy_and_no_model(ready_digits, tmp_path):
    config = TrainingConfig(**{**vars(CONFIG), "learning_rate": 1e30})
    with pytest.raises(InputError, match=r"loss became (nan|inf) in epoch 1, step \d+\. Lower"):
        run(ready_digits, tmp_path, config)
    assert not (tmp_path / "model" / "1").exists()


def test_grey_pixels_are_refused_before_training(raw_digits, tmp_path):
    grey, _ = binarize_examples(raw_digits, tmp_path, ImageFormat(8, 8, 1, "none"))
    with pytest.raises(InputError, match="needs binary pixels"):
        run(grey, tmp_path)


def test_examples_that_imagebinarizer_did_not_write_are_refused(raw_digits, tmp_path):
    with pytest.raises(InputError, match=r"has no image_format\.json"):
        run(raw_digits, tmp_path)


def test_a_batch_larger_than_the_data_is_one_batch(ready_digits, tmp_path):
    config = TrainingConfig(**{**vars(CONFIG), "batch_size": 10_000, "epochs": 1})
    history = run(ready_digits, tmp_path, config)
    assert np.isfinite(history["loss"][0])
    assert Path(tmp_path / "model" / "1" / "saved_model.pb").is_file()
