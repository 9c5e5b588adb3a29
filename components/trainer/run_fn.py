"""The function that the stock TFX Trainer calls."""

import dataclasses
import json
import math
from pathlib import Path

import tf_keras
from tfx.components.trainer.fn_args_utils import FnArgs

from components.image_binarizer.image_format import (
    ImageFormat,
    examples_uri_of,
    read_mean_image,
)
from components.trainer import checkpoints
from components.trainer.config import CODE_FINGERPRINT_KEY, CONFIG_KEY, TrainingConfig
from components.trainer.export import export
from components.trainer.input import evaluation_batches, load_records, training_batches
from components.trainer.optimizers import AveragedWeights, build_optimizer
from components.trainer.progress import EpochLine, StopOnNonFinite
from components.trainer.strategy import choose_strategy, is_chief, wait_for_all
from components.trainer.vae.build import build_model

_EVALUATION_BATCH = 500


def run_fn(fn_args: FnArgs) -> None:
    """Trains a VAE on model-ready Examples and exports its SavedModel.

    Args:
      fn_args: From the TFX Trainer. `custom_config` holds `config`, the JSON of TrainingConfig.
    """
    config = TrainingConfig(**json.loads(fn_args.custom_config[CONFIG_KEY]))
    train(
        config,
        train_files=fn_args.train_files,
        eval_files=fn_args.eval_files,
        model_dir=fn_args.serving_model_dir,
        model_run_dir=fn_args.model_run_dir,
        code_fingerprint=fn_args.custom_config[CODE_FINGERPRINT_KEY],
    )


def train(
    config: TrainingConfig,
    train_files: list[str],
    eval_files: list[str],
    model_dir: str | None,
    model_run_dir: str,
    code_fingerprint: str = "",
    write=print,
) -> dict[str, list[float]]:
    """Trains, restores the best epoch, and exports.

    The best epoch is the one with the best validation ELBO at KL weight 1, whatever weight trains;
    of an autoencoder, the one with the least validation distortion.

    Args:
      config: Model and optimisation.
      train_files: File patterns `<examples>/Split-train/*` as ImageBinarizer wrote them.
      eval_files: The same for the validation split.
      model_dir: Where the SavedModel goes; None exports nothing.
      model_run_dir: Where checkpoints and logs go; an interrupted run beside it is resumed.
      code_fingerprint: Of the code that trains; a run of other code is not resumed.
      write: Receives one line an epoch.

    Returns:
      Keras's history: a list a logged number, an entry an epoch.

    Raises:
      InputError: If the configuration does not fit the data, or the loss is not finite.
    """
    examples_uri = examples_uri_of(train_files[0])
    image_format = ImageFormat.read(examples_uri)
    config.check_fits(image_format)
    key = checkpoints.training_key(
        {
            "config": dataclasses.asdict(config),
            "code": code_fingerprint,
            "train": train_files,
            "eval": eval_files,
        }
    )
    # Before the strategy, which waits for all workers, so that they see what the chief adopted.
    if is_chief():
        if checkpoints.adopt_interrupted_run(model_run_dir, key):
            write("    resuming an interrupted training")
    else:
        write = _discard
    run = Path(model_run_dir)

    # Before anything is computed: TensorFlow connects workers only while its devices are unused.
    strategy = choose_strategy()
    tf_keras.utils.set_random_seed(config.seed)
    mean_image, _ = read_mean_image(examples_uri, "train")
    records = load_records(train_files, image_format)
    validation_records = load_records(eval_files, image_format)
    batch_size = min(config.batch_size, len(records))
    steps_per_epoch = math.ceil(len(records) / batch_size)
    with strategy.scope():
        model = build_model(config, image_format, mean_image, steps_per_epoch)
        model.compile(optimizer=build_optimizer(config, steps_per_epoch))
    # A step's logs are over all replicas already; Keras would add up those of several workers.
    model.distribute_reduction_method = "first"
    first_epoch = checkpoints.epochs_done(run)
    best = checkpoints.BestWeights(
        run / checkpoints.BEST,
        monitor=checkpoints.DISTORTION if config.is_autoencoder else checkpoints.ELBO,
        patience=config.early_stopping_patience,
        count_from=math.ceil(config.kl_warmup_epochs),
    )
    history = model.fit(
        training_batches(
            records,
            image_format,
            batch_size,
            noise_shape=(config.training_samples, config.latent_size),
            seed=config.seed,
            num_replicas=strategy.num_replicas_in_sync,
            first_step=first_epoch * steps_per_epoch,
        ),
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
        validation_data=evaluation_batches(
            validation_records,
            image_format,
            min(_EVALUATION_BATCH, len(validation_records)),
            noise_shape=(config.training_samples, config.latent_size),
            num_replicas=strategy.num_replicas_in_sync,
        ),
        verbose=0,
        callbacks=[
            StopOnNonFinite(),
            *([AveragedWeights(best)] if config.ema_momentum else [best]),
            EpochLine(config, len(records), write),
            *_log_writers(run, first_epoch),
            # Last, so that a kill between callbacks repeats an epoch instead of losing one.
            tf_keras.callbacks.BackupAndRestore(str(run / checkpoints.BACKUP)),
        ],
    )
    if is_chief():
        best.restore()
        if model_dir:
            export(model, config, image_format, model_dir)
    # A process that ended now would be taken for dead, and the chief's export delayed.
    wait_for_all(strategy)
    return history.history


def _discard(line: str) -> None:
    """Another process than the chief says nothing."""


def _log_writers(run: Path, first_epoch: int) -> list[tf_keras.callbacks.Callback]:
    if not is_chief():
        return []
    return [
        tf_keras.callbacks.CSVLogger(str(run / "history.csv"), append=first_epoch > 0),
        tf_keras.callbacks.TensorBoard(str(run / "tensorboard"), write_graph=False),
    ]
