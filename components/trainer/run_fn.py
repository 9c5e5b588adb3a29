"""The function that the stock TFX Trainer calls."""

import dataclasses
import json
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
from components.trainer.progress import EpochLine, StopOnNonFinite
from components.trainer.strategy import choose_strategy, is_chief
from components.trainer.vae.architectures import build_networks
from components.trainer.vae.model import VariationalAutoencoder
from components.trainer.vae.posterior import DiagonalNormal

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
    model_dir: str,
    model_run_dir: str,
    code_fingerprint: str = "",
    write=print,
) -> dict[str, list[float]]:
    """Trains, restores the epoch with the best validation ELBO, and exports.

    Args:
      config: Model and optimisation.
      train_files: File patterns `<examples>/Split-train/*` as ImageBinarizer wrote them.
      eval_files: The same for the validation split.
      model_dir: Where the SavedModel goes.
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
    mean_image, _ = read_mean_image(examples_uri, "train")
    config.check_fits(image_format)
    records = load_records(train_files, image_format)
    batch_size = min(config.batch_size, len(records))
    steps_per_epoch = len(records) // batch_size
    key = checkpoints.training_key(
        {
            "config": dataclasses.asdict(config),
            "code": code_fingerprint,
            "train": train_files,
            "eval": eval_files,
        }
    )
    if checkpoints.adopt_interrupted_run(model_run_dir, key):
        write("    resuming an interrupted training")
    run = Path(model_run_dir)

    tf_keras.utils.set_random_seed(config.seed)
    strategy = choose_strategy()
    with strategy.scope():
        model = build_model(config, image_format, mean_image)
        model.compile(optimizer=_optimizer(config, steps_per_epoch))
    backup = tf_keras.callbacks.BackupAndRestore(str(run / checkpoints.BACKUP))
    first_epoch = checkpoints.epochs_done(run)
    best = checkpoints.BestWeights(run / checkpoints.BEST)
    history = model.fit(
        training_batches(
            records,
            image_format,
            batch_size,
            config.seed,
            first_step=first_epoch * steps_per_epoch,
        ),
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
        validation_data=evaluation_batches(eval_files, image_format, _EVALUATION_BATCH),
        verbose=0,
        callbacks=[
            StopOnNonFinite(),
            best,
            EpochLine(config.epochs, steps_per_epoch * batch_size, write),
            tf_keras.callbacks.CSVLogger(str(run / "history.csv"), append=first_epoch > 0),
            tf_keras.callbacks.TensorBoard(str(run / "tensorboard"), write_graph=False),
            # Last, so that a kill between callbacks repeats an epoch instead of losing one.
            backup,
        ],
    )
    best.restore()
    if is_chief(strategy):
        export(model, config.importance_samples, model_dir)
    return history.history


def build_model(
    config: TrainingConfig, image_format: ImageFormat, mean_image
) -> VariationalAutoencoder:
    """The untrained model of a configuration."""
    encoder, decoder = build_networks(
        config.architecture,
        image_format.shape,
        DiagonalNormal.num_parameters(config.latent_size),
        config.latent_size,
        mean_image,
    )
    return VariationalAutoencoder(
        encoder, decoder, image_format, kl_weight=config.kl_weight, seed=config.seed
    )


def _optimizer(config: TrainingConfig, steps_per_epoch: int) -> tf_keras.optimizers.Optimizer:
    total = config.epochs * steps_per_epoch
    schedule = tf_keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=total,
        alpha=0.01,
        warmup_target=config.learning_rate,
        warmup_steps=max(1, steps_per_epoch // 2),
    )
    return tf_keras.optimizers.Adam(schedule, global_clipnorm=config.gradient_clip_norm)
