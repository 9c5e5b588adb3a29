"""Searches: what is tried, what is kept, what a failure costs."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx import types
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.types import standard_artifacts

from components.errors import InputError
from components.image_binarizer.image_format import PixelMoments, write_pixel_moments
from components.trainer import TrainingConfig
from components.tuner import LogRange, SearchSpace, tuner, vae_tuner
from components.tuner.trials import TrialResult, read_result, trial_folder
from components.tuner.tuner import VaeTuner
from components.tuner.tuner_fn import tuner_fn

CONFIG = TrainingConfig(
    architecture="dense", hidden_units=(16,), epochs=2, batch_size=100, learning_rate=3e-3
)


def make(examples, trials_dir, search, config=CONFIG, **kwargs):
    lines = []
    made = VaeTuner(
        config,
        search,
        [f"{examples.uri}/Split-train/*"],
        [f"{examples.uri}/Split-eval/*"],
        str(trials_dir),
        str(Path(trials_dir) / "working"),
        **{"write": lines.append, **kwargs},
    )
    return made, lines


def tried(made, field):
    trials = [made.oracle.trials[name] for name in made.oracle.start_order]
    return [trial.hyperparameters.values[field] for trial in trials]


def headers(lines):
    return [line.strip() for line in lines if line.strip().startswith("trial ")]


@pytest.fixture
def pretended(monkeypatch):
    """Trials that take no time; the ELBO falls with the distance of the rate from 0.01."""

    def run_trial(folder, config, *unused):
        distance = abs(math.log(config.learning_rate / 0.01))
        return TrialResult(1.0, "", 2, 1, -distance, 0.1, 1.0, distance - 1.0, 1)

    monkeypatch.setattr(tuner, "run_trial", run_trial)


@pytest.fixture(scope="module")
def searched(ready_digits, tmp_path_factory):
    """A finished grid over two sizes and two weights."""
    trials_dir = tmp_path_factory.mktemp("searched")
    search = SearchSpace({"latent_size": [2, 3], "kl_weight": [1, 20]})
    made, lines = make(ready_digits, trials_dir, search)
    made.search()
    return made, lines, trials_dir


def results(examples, trials_dir, search, config=CONFIG):
    return {
        (found.latent_size, found.kl_weight): (
            trial_folder(str(trials_dir), found, examples.uri, ""),
            read_result(trial_folder(str(trials_dir), found, examples.uri, "")),
        )
        for found in search.configurations(config)
    }


def test_a_grid_tries_the_whole_product(searched, ready_digits):
    made, lines, trials_dir = searched
    assert headers(lines) == [
        "trial 1/4: latent_size 2, kl_weight 1",
        "trial 2/4: latent_size 2, kl_weight 20",
        "trial 3/4: latent_size 3, kl_weight 1",
        "trial 4/4: latent_size 3, kl_weight 20",
    ]
    assert sum(line.strip().startswith("epoch ") for line in lines) == 8
    for folder, result in results(ready_digits, trials_dir, made._search).values():
        assert (folder / "model" / "saved_model.pb").is_file()
        assert (folder / "model_run" / "history.csv").is_file()
        assert result.failure == ""
        assert result.epochs == 2
        assert result.best_epoch in (1, 2)
        assert result.seconds > 0
        assert 0 <= result.active_units <= 3


def test_the_objective_is_at_weight_one_whatever_weight_trains(searched, ready_digits):
    made, _, trials_dir = searched
    files = sorted(tf.io.gfile.glob(f"{ready_digits.uri}/Split-eval/*"))
    records = list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
    found = results(ready_digits, trials_dir, made._search)
    by_values = {
        (trial.hyperparameters.values["latent_size"], trial.hyperparameters.values["kl_weight"]): (
            trial.score
        )
        for trial in made.oracle.trials.values()
    }
    for values, (folder, result) in found.items():
        evaluate = tf.saved_model.load(str(folder / "model")).signatures["evaluate"]
        elbo = evaluate(examples=tf.constant(records))["elbo"].numpy()
        assert by_values[values] == result.elbo == pytest.approx(elbo.mean(), abs=1e-3)
        assert result.elbo == pytest.approx(-(result.rate + result.distortion), abs=1e-3)
        error = elbo.std(ddof=1) / np.sqrt(len(elbo))
        assert result.elbo_standard_error == pytest.approx(error, rel=1e-4)
        # One code an image in training, five here: equal up to the noise of sampling.
        best = json.loads((folder / "model_run" / "best" / "best.json").read_text())
        assert result.best_epoch == best["epoch"]
        assert result.elbo == pytest.approx(best["val_elbo"], abs=3.0)
    # The heavy weight squeezes the rate out, so that the two weights are not one number.
    assert found[2, 20.0][1].rate < found[2, 1.0][1].rate


def test_the_best_trial_has_the_highest_elbo(searched, ready_digits):
    made, _, trials_dir = searched
    found = results(ready_digits, trials_dir, made._search)
    best = max(found, key=lambda values: found[values][1].elbo)
    chosen = made.get_best_hyperparameters()[0].values
    assert (chosen["latent_size"], chosen["kl_weight"]) == best


def test_a_search_again_trains_nothing_and_a_wider_one_what_is_new(searched, ready_digits):
    _, _, trials_dir = searched
    again, lines = make(ready_digits, trials_dir, SearchSpace({"latent_size": [3, 4]}))
    again.search()
    starts = ("trial 1/2: latent_size 3", "done before: ", "trial 2/2: latent_size 4")
    starts += ("epoch 1/2 ", "epoch 2/2 ", "done: ")
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.strip().startswith(start)


def test_a_killed_search_goes_on_in_the_midst_of_its_trial(searched, ready_digits, tmp_path):
    search = SearchSpace({"latent_size": [2, 3]})

    class Killer(list):
        def append(self, line):
            super().append(line)
            if len(headers(self)) == 2 and "epoch 2/2" in line:
                raise KeyboardInterrupt

    killed_lines = Killer()
    killed, _ = make(ready_digits, tmp_path, search, write=killed_lines.append)
    with pytest.raises(KeyboardInterrupt):
        killed.search()
    before = results(ready_digits, tmp_path, search)
    assert [result is None for _, result in before.values()] == [False, True]

    resumed, lines = make(ready_digits, tmp_path, search)
    resumed.search()
    epochs = [line.split()[1] for line in lines if line.strip().startswith("epoch ")]
    # Trial 1 is read back; epoch 2 of trial 2 was not backed up when it was killed.
    assert epochs == ["2/2"]
    assert "done before" in lines[1]
    after = results(ready_digits, tmp_path, search)
    assert after[2, 1.0] == before[2, 1.0]
    assert after[3, 1.0][1].epochs == 2
    never_killed = results(ready_digits, searched[2], search)[3, 1.0][1]
    assert after[3, 1.0][1].elbo == pytest.approx(never_killed.elbo, rel=1e-4)


def test_other_code_data_or_configuration_is_another_trial(ready_digits, tmp_path):
    folder = trial_folder(str(tmp_path), CONFIG, ready_digits.uri, "")
    assert trial_folder(str(tmp_path), CONFIG, ready_digits.uri, "") == folder
    assert trial_folder(str(tmp_path), CONFIG, ready_digits.uri, "edited") != folder
    other = dataclasses.replace(CONFIG, seed=1)
    assert trial_folder(str(tmp_path), other, ready_digits.uri, "") != folder
    copy = shutil.copytree(ready_digits.uri, tmp_path / "examples")
    of_copy = trial_folder(str(tmp_path), CONFIG, str(copy), "")
    assert of_copy != folder
    # Other images in a folder of the same name.
    black = np.zeros((28, 28, 1))
    write_pixel_moments(str(copy), "train", PixelMoments(black, black, 400))
    assert trial_folder(str(tmp_path), CONFIG, str(copy), "") != of_copy


def test_a_trial_whose_loss_is_no_number_is_one_failed_trial(ready_digits, tmp_path):
    search = SearchSpace({"learning_rate": [1e30, 3e-3]})
    made, lines = make(ready_digits, tmp_path, search)
    made.search()
    assert "failed: The loss became " in lines[1]
    assert [trial.status for trial in made.oracle.trials.values()] == ["FAILED", "COMPLETED"]
    assert made.get_best_hyperparameters()[0].values == {"learning_rate": 3e-3}
    failed = dataclasses.replace(CONFIG, learning_rate=1e30)
    result = read_result(trial_folder(str(tmp_path), failed, ready_digits.uri, ""))
    assert result.failure.startswith("The loss became ")
    assert result.elbo is None


def test_if_all_trials_fail_that_is_an_error(ready_digits, tmp_path, monkeypatch):
    # Five in a row: KerasTuner by itself would give up after three.
    monkeypatch.setattr(
        tuner, "run_trial", lambda folder, config, *unused: TrialResult(1.0, "The loss is bad.")
    )
    made, lines = make(ready_digits, tmp_path, SearchSpace({"seed": [0, 1, 2, 3, 4]}))
    with pytest.raises(InputError, match=r"All 5 trials failed; the first: The loss is bad\."):
        made.search()
    assert len(headers(lines)) == 5


def test_any_other_error_ends_the_search_as_itself(ready_digits, tmp_path, monkeypatch):
    def full_disk(*unused):
        raise OSError("No space left on device")

    monkeypatch.setattr(tuner, "run_trial", full_disk)
    made, lines = make(ready_digits, tmp_path, SearchSpace({"seed": [0, 1]}))
    with pytest.raises(OSError, match="No space left on device"):
        made.search()
    assert len(headers(lines)) == 1


def test_a_large_grid_is_tried_whole(ready_digits, tmp_path, pretended):
    search = SearchSpace({"latent_size": [2, 5, 1], "kl_weight": [1, 0.5], "seed": [0, 1, 2]})
    made, _ = make(ready_digits, tmp_path, search)
    made.search()
    found = list(zip(*(tried(made, field) for field in search.fields), strict=True))
    wanted = search.configurations(CONFIG)
    assert found == [(one.latent_size, one.kl_weight, one.seed) for one in wanted]


@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_draws_stay_in_their_range_and_are_the_same_again(
    ready_digits, tmp_path, pretended, algorithm
):
    def rates(seed):
        fields = {"learning_rate": LogRange(1e-4, 1e-1), "latent_size": [2, 4]}
        search = SearchSpace(fields, algorithm, 8, seed)
        made, _ = make(ready_digits, tmp_path, search)
        made.search()
        assert set(tried(made, "latent_size")) <= {2, 4}
        return tried(made, "learning_rate")

    first = rates(0)
    assert len(first) == 8
    assert all(1e-4 <= rate <= 1e-1 for rate in first)
    assert rates(0) == first
    assert rates(1) != first


def test_nothing_is_printed_but_our_own_lines(ready_digits, tmp_path, pretended, capsys):
    component = vae_tuner(
        examples=types.Channel(type=standard_artifacts.Examples),
        config=CONFIG,
        search=SearchSpace({"latent_size": [2, 4]}),
        trials_dir=str(tmp_path),
    )
    custom = json.loads(component.spec.exec_properties["custom_config"])
    result = tuner_fn(
        FnArgs(
            working_dir=str(tmp_path / "working"),
            train_files=[f"{ready_digits.uri}/Split-train/*"],
            eval_files=[f"{ready_digits.uri}/Split-eval/*"],
            custom_config=custom,
        )
    )
    assert result.fit_kwargs == {}
    result.tuner.search_space_summary()
    result.tuner.search(**result.fit_kwargs)
    result.tuner.results_summary()
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = [line.strip() for line in captured.out.splitlines()]
    assert lines[0] == "2 trials, grid: latent_size 2, 4"
    assert lines[1] == "trial 1/2: latent_size 2"
    assert lines[2].startswith("done: validation ELBO -1.20 ± 0.10")
    assert len(lines) == 5
