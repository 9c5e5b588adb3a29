"""A whole training: files, best weights, resumption after a kill, and a loss that is no number."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf

from components.errors import InputError
from components.trainer import TrainingConfig
from components.trainer.run_fn import train

CONFIG = TrainingConfig(
    architecture="dense",
    hidden_units=(32,),
    latent_size=2,
    epochs=4,
    batch_size=50,
    learning_rate=1e-2,
)


def changed(**changes):
    return TrainingConfig(**{**vars(CONFIG), **changes})


def run(examples, folder, config=CONFIG, run_name="1", write=lambda line: None, export=False, **kw):
    return train(
        config,
        [f"{examples.uri}/Split-train/*"],
        [f"{examples.uri}/Split-eval/*"],
        str(folder / "model" / run_name) if export else None,
        str(folder / "model_run" / run_name),
        write=write,
        **kw,
    )


def killing(after_epoch, lines=None):
    """A line writer that ends the process's training as Ctrl-C would."""

    def write(line):
        if lines is not None:
            lines.append(line)
        if line.strip().startswith(f"epoch {after_epoch}/"):
            raise KeyboardInterrupt

    return write


def rows(model_run):
    """The numbers of history.csv, by epoch."""
    with open(model_run / "history.csv", newline="") as file:
        read = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return {int(row.pop("epoch")): row for row in read}


def best_of(model_run):
    return json.loads((model_run / "best/best.json").read_text())


def best_weights(model_run):
    reader = tf.train.load_checkpoint(str(model_run / "best/weights"))
    names = [name for name in reader.get_variable_to_shape_map() if "GRAPH" not in name]
    return {name: reader.get_tensor(name) for name in names if "save_counter" not in name}


def exported_elbo(examples, model):
    signature = tf.saved_model.load(str(model)).signatures["evaluate"]
    files = tf.io.gfile.glob(f"{examples.uri}/Split-eval/*")
    records = list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
    return float(tf.reduce_mean(signature(examples=tf.constant(records))["elbo"]))


@pytest.fixture(scope="module")
def uninterrupted(ready_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    lines = []
    history = run(ready_digits, folder, write=lines.append, export=True)
    return folder, history, lines


def test_leaves_logs_and_a_model_that_learned(uninterrupted):
    folder, history, _ = uninterrupted
    assert (folder / "model" / "1" / "saved_model.pb").is_file()
    model_run = folder / "model_run" / "1"
    assert list(model_run.glob("tensorboard/*/events*"))
    assert list(rows(model_run)) == [0, 1, 2, 3]
    assert history["val_elbo"][-1] > history["val_elbo"][0] + 5
    assert history["val_rate"][-1] > 0.5


def test_prints_a_line_an_epoch_with_elbo_and_speed(uninterrupted):
    _, history, lines = uninterrupted
    assert len(lines) == 4
    assert f"ELBO {history['elbo'][0]:8.2f}" in lines[0]
    assert f"validation {history['val_elbo'][0]:8.2f}" in lines[0]
    assert "images/s" in lines[0]


def test_the_backup_is_gone_when_training_has_ended(uninterrupted):
    assert not (uninterrupted[0] / "model_run" / "1" / "backup" / "chief").exists()


def test_a_finished_training_is_not_resumed(ready_digits, uninterrupted):
    lines = []
    with pytest.raises(KeyboardInterrupt):
        run(ready_digits, uninterrupted[0], run_name="2", write=killing(1, lines))
    assert len(lines) == 1


def test_exports_the_epoch_with_the_best_validation_elbo(ready_digits, tmp_path):
    # A rate this high ruins the model after it was good: the last epoch is not the best.
    config = changed(learning_rate=0.1, epochs=6, gradient_clip_norm=None)
    history = run(ready_digits, tmp_path, config, export=True)
    values = history["val_elbo"]
    best = best_of(tmp_path / "model_run/1")
    assert best == {"epoch": int(np.argmax(values)) + 1, "val_elbo": pytest.approx(max(values))}
    # One code an image in both, from the same noise.
    elbo = exported_elbo(ready_digits, tmp_path / "model" / "1")
    assert elbo == pytest.approx(max(values), rel=1e-5)


def test_averaged_weights_are_what_is_validated_and_exported(ready_digits, uninterrupted, tmp_path):
    history = run(ready_digits, tmp_path, changed(ema_momentum=0.9), export=True)
    # The steps are the same, and the averages behind them.
    assert history["loss"] == pytest.approx(uninterrupted[1]["loss"], rel=1e-4)
    difference = np.subtract(uninterrupted[1]["val_elbo"], history["val_elbo"])
    assert np.abs(difference).min() > 0.1
    best = best_of(tmp_path / "model_run/1")
    assert best["val_elbo"] == pytest.approx(max(history["val_elbo"]))
    elbo = exported_elbo(ready_digits, tmp_path / "model" / "1")
    assert elbo == pytest.approx(best["val_elbo"], rel=1e-5)


def test_a_killed_training_goes_on_and_ends_as_if_never_killed(ready_digits, tmp_path):
    config = changed(
        ema_momentum=0.9,
        kl_warmup_epochs=3.0,
        kl_weight=2.0,
        early_stopping_patience=2,
        # So high that the ELBO soon stops rising.
        learning_rate=0.06,
        schedule="constant",
        warmup_epochs=0.0,
        epochs=9,
    )
    whole = tmp_path / "whole"
    whole_lines, lines = [], []
    run(ready_digits, whole, config, write=whole_lines.append)
    with pytest.raises(KeyboardInterrupt):
        run(ready_digits, tmp_path, config, write=killing(3))
    run(ready_digits, tmp_path, config, run_name="2", write=lines.append)
    assert lines[0].strip() == "resuming an interrupted training"
    # Epoch 3 was not backed up when it was killed, so it is done again.
    epochs = [line.split()[1] for line in whole_lines]
    assert [line.split()[1] for line in lines[1:]] == epochs[2:]
    assert 5 <= len(epochs) < 9
    expected = rows(whole / "model_run/1")
    resumed = rows(tmp_path / "model_run/2")
    assert list(resumed) == list(expected) == list(range(len(epochs)))
    for epoch, row in expected.items():
        assert resumed[epoch] == pytest.approx(row, rel=1e-4, abs=1e-4), epoch
    assert best_of(tmp_path / "model_run/2") == pytest.approx(best_of(whole / "model_run/1"))
    weights = best_weights(tmp_path / "model_run/2")
    for name, value in best_weights(whole / "model_run/1").items():
        np.testing.assert_allclose(weights[name], value, rtol=1e-3, atol=1e-4)


def test_a_killed_training_of_something_else_is_not_resumed(ready_digits, tmp_path):
    def first_line(config=CONFIG, name="2", **kwargs):
        lines = []
        with pytest.raises(KeyboardInterrupt):
            run(ready_digits, tmp_path, config, name, killing(2, lines), **kwargs)
        return lines[0].strip()

    assert first_line(name="1").startswith("epoch 1/4")
    assert first_line(changed(kl_weight=2.0)).startswith("epoch 1/4")
    assert first_line(name="3", code_fingerprint="edited").startswith("epoch 1/4")
    assert first_line(name="4") == "resuming an interrupted training"


def test_early_stopping_waits_for_the_kl_weight(ready_digits, tmp_path):
    # Nothing is learned, so no epoch is better than the first.
    frozen = {"learning_rate": 1e-12, "early_stopping_patience": 1, "epochs": 8}
    history = run(ready_digits, tmp_path, changed(kl_warmup_epochs=2.5, **frozen))
    assert len(history["loss"]) == 4
    assert best_of(tmp_path / "model_run/1")["epoch"] == 1


def test_an_autoencoder_is_chosen_by_its_distortion(ready_digits, tmp_path):
    lines = []
    config = changed(posterior="point", kl_weight=0.0, epochs=2)
    history = run(ready_digits, tmp_path, config, write=lines.append)
    best = best_of(tmp_path / "model_run/1")
    assert history["val_distortion"][1] < history["val_distortion"][0]
    assert best == {"epoch": 2, "val_distortion": pytest.approx(history["val_distortion"][1])}
    assert f"distortion {history['distortion'][0]:8.2f}  validation" in lines[0]
    assert "ELBO" not in lines[0]


@pytest.mark.parametrize(
    ("likelihood", "changes"),
    [
        ("gaussian", {"formulation": "c", "posterior": "full_covariance"}),
        ("gaussian_learned_scale", {"architecture": "conv_dense", "precision": "mixed_bfloat16"}),
        ("gaussian_analytic_scale", {"optimizer": "rmsprop", "ema_momentum": 0.5}),
        ("continuous_bernoulli", {"precision": "mixed_float16", "formulation": "a"}),
        (
            "discretized_logistic",
            {"precision": "mixed_float16", "prior": "vamp", "rate_estimator": "monte_carlo"},
        ),
    ],
)
def test_grey_pixels_train_with_every_likelihood(grey_digits, tmp_path, likelihood, changes):
    config = changed(likelihood=likelihood, prior_components=5, epochs=2, **changes)
    history = run(grey_digits, tmp_path, config)
    assert np.isfinite(list(history.values())).all()
    assert history["loss"][1] < history["loss"][0]
    assert history["val_elbo"][1] > history["val_elbo"][0]


def test_a_loss_that_is_not_finite_stops_with_a_remedy_and_no_model(ready_digits, tmp_path):
    with pytest.raises(InputError, match=r"loss became (nan|inf) in epoch 1, step \d+\. Lower"):
        run(ready_digits, tmp_path, changed(learning_rate=1e30, warmup_epochs=0.0), export=True)
    assert not (tmp_path / "model" / "1").exists()


def test_grey_pixels_are_refused_before_training(grey_digits, tmp_path):
    with pytest.raises(InputError, match="needs binary pixels"):
        run(grey_digits, tmp_path)


def test_examples_that_imagebinarizer_did_not_write_are_refused(raw_digits, tmp_path):
    with pytest.raises(InputError, match=r"has no image_format\.json"):
        run(raw_digits, tmp_path)


def test_a_batch_larger_than_the_data_is_one_batch(ready_digits, tmp_path):
    history = run(ready_digits, tmp_path, changed(batch_size=10_000, epochs=1))
    assert np.isfinite(history["loss"][0])
    assert list(rows(tmp_path / "model_run/1")) == [0]
