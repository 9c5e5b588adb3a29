"""The `tfx-vae` command. Whatever is heavy is imported in the command that needs it."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from components.errors import InputError


def one_line_errors(command: Callable) -> Callable:
    """Shows a user's error as one line and ends with status 1."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except InputError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("\nInterrupted. Run the same command again to go on from here.", err=True)
            sys.exit(130)

    return wrapped


verbose_option = click.option(
    "--verbose", is_flag=True, help="Show the logs of TFX, Beam and TensorFlow, and tracebacks."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="tfx-vae")
def main() -> None:
    """Train, check and serve variational autoencoders with TFX.

    Start with `tfx-vae run --recipe digits`, which needs no download.
    """


@main.command()
@click.option(
    "--recipe",
    "recipe_name",
    required=True,
    metavar="NAME|FILE",
    help="A recipe of `tfx-vae recipes`, or a .yaml file of your own.",
)
@click.option(
    "--dataset",
    metavar="NAME|DIR",
    help="Another data set: a TFDS name, a prepared TFDS folder, or a folder of images.",
)
@click.option("--data-dir", metavar="DIR", help="Where TFDS keeps prepared data sets.")
@click.option(
    "--manual-dir", metavar="DIR", help="Where you put the data set's files, for TFDS to use."
)
@click.option("--download/--no-download", default=True, help="Whether TFDS may download.")
@click.option("--unlabelled", is_flag=True, help="The images have no labels.")
@click.option("--label-key", metavar="NAME", help="The TFDS feature to take as label.")
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="NAME=EXPRESSION",
    help="What train, eval or test is, such as eval=train[90%:]. Repeatable.",
)
@click.option(
    "--binarization",
    type=click.Choice(["threshold", "stochastic", "dynamic", "none"]),
    help="How grey pixels become zeros and ones.",
)
@click.option("--architecture", metavar="NAME", help="conv or dense.")
@click.option("--latent-size", type=int, help="Number of latent dimensions.")
@click.option("--kl-weight", type=float, help="Weight of the rate in the training loss.")
@click.option("--epochs", type=int, help="Passes over the training split.")
@click.option("--batch-size", type=int, help="Images a step.")
@click.option("--learning-rate", type=float, help="Adam's peak learning rate.")
@click.option("--seed", type=int, help="Seed of weights, shuffling and noise.")
@click.option(
    "--floor",
    type=float,
    help="Least mean test ELBO that is blessed, nats per image. With another data set or "
    "binarisation than the recipe's: that of a fair coin per pixel.",
)
@click.option("--min-improvement", type=float, help="Least gain over the champion, nats per image.")
@click.option(
    "--max-undecodable-share",
    type=float,
    help="Tolerated share, 0 to 1, of images that cannot be decoded.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Any other field of the recipe, such as training.importance_samples=50. Repeatable.",
)
@click.option(
    "--pipeline-root",
    metavar="DIR",
    help="Where artifacts, metadata, champions and pushed decoders go.  [default: runs/RECIPE]",
)
@click.option(
    "--serving-name",
    default="decoder",
    show_default=True,
    help="The model's name at the server; another name starts a new line of champions.",
)
@click.option(
    "--beam-arg",
    "beam_args",
    multiple=True,
    metavar="FLAG",
    help="A flag for Beam, such as --beam-arg=--runner=FlinkRunner. Repeatable.",
)
@click.option("--cache/--no-cache", default=True, help="Whether unchanged steps are reused.")
@verbose_option
@one_line_errors
def run(
    recipe_name: str,
    dataset: str | None,
    data_dir: str | None,
    manual_dir: str | None,
    download: bool,
    unlabelled: bool,
    label_key: str | None,
    splits: tuple[str, ...],
    settings: tuple[str, ...],
    pipeline_root: str | None,
    serving_name: str,
    beam_args: tuple[str, ...],
    cache: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Run the whole pipeline here: data to pushed decoder.

    Unchanged steps are reused from earlier runs. An interrupted training goes on where it was.
    """
    from pipelines.quiet import set_verbosity
    from pipelines.recipe import load_recipe

    set_verbosity(verbose)
    # A log file shows each line when it is written, not when the run has ended.
    sys.stdout.reconfigure(line_buffering=True)
    changes = {_RECIPE_FIELDS[name]: value for name, value in options.items() if value is not None}
    changes |= dict(_assignment(text, "--set", "FIELD=VALUE") for text in settings)
    for text in splits:
        name, expression = _assignment(text, "--split", "NAME=EXPRESSION")
        changes[f"splits.{name}"] = expression
    if dataset is not None:
        changes["dataset"] = dataset
    recipe = load_recipe(recipe_name).override(changes)

    from components.tfds_example_gen import DataSource

    source = DataSource(
        dataset=recipe.dataset,
        data_dir=data_dir,
        manual_dir=manual_dir,
        download=download,
        label_key=label_key,
        unlabelled=unlabelled,
    )
    root = os.path.abspath(pipeline_root or os.path.join("runs", recipe.name))

    from pipelines.run import run_recipe

    run_recipe(recipe, source, root, serving_name, list(beam_args), cache, verbose)


_RECIPE_FIELDS = {
    "binarization": "image_format.binarization",
    "architecture": "training.architecture",
    "latent_size": "training.latent_size",
    "kl_weight": "training.kl_weight",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "learning_rate": "training.learning_rate",
    "seed": "training.seed",
    "floor": "gate.floor",
    "min_improvement": "gate.min_improvement",
    "max_undecodable_share": "max_undecodable_share",
}


def _assignment(text: str, option: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise InputError(f"{option} {text!r} is not of the form {form}.")
    return name, value


@main.group(invoke_without_command=True)
@click.pass_context
@one_line_errors
def recipes(context: click.Context) -> None:
    """List the recipes; `tfx-vae recipes show NAME` prints one in full."""
    if context.invoked_subcommand is None:
        from pipelines.recipe import load_recipe, recipe_names

        names = recipe_names()
        for name in names:
            click.echo(f"{name:<{max(map(len, names))}}  {load_recipe(name).description}")


@recipes.command()
@click.argument("name")
@one_line_errors
def show(name: str) -> None:
    """Print every field of a recipe, as YAML that `--recipe FILE` accepts."""
    from pipelines.recipe import load_recipe

    click.echo(load_recipe(name).to_yaml(), nl=False)


@main.command()
@click.argument("serving_dir", type=click.Path(path_type=Path))
@click.option("--port", default=8500, show_default=True, help="gRPC port; 0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--model-name", default="decoder", show_default=True, help="The name that clients ask for."
)
@verbose_option
@one_line_errors
def serve(serving_dir: Path, port: int, host: str, model_name: str, verbose: bool) -> None:
    """Serve the newest version in SERVING_DIR over gRPC, as TensorFlow Serving does.

    A version that is pushed while the server runs replaces the old one without a pause.
    """
    from pipelines.quiet import set_verbosity

    set_verbosity(verbose)
    from serving.server import main as serve_forever

    arguments = ["--port", str(port), "--host", host, "--model_name", model_name]
    sys.exit(serve_forever([*arguments, "--model_base_path", str(serving_dir)]))


@main.command()
@click.option(
    "--server",
    default="127.0.0.1:8500",
    show_default=True,
    metavar="HOST:PORT",
    help="gRPC server.",
)
@click.option("--model-name", default="decoder", show_default=True, help="The served model.")
@click.option("--number", default=64, show_default=True, help="How many images.")
@click.option("--seed", default=0, show_default=True, help="Seed of the codes.")
@click.option(
    "--kind",
    type=click.Choice(["mean", "mode", "sample"]),
    default="mean",
    show_default=True,
    help="Mean, likeliest value, or a draw of each pixel.",
)
@click.option(
    "--output",
    default="generated.png",
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The PNG file to write.",
)
@verbose_option
@one_line_errors
def generate(
    server: str, model_name: str, number: int, seed: int, kind: str, output: Path, verbose: bool
) -> None:
    """Ask a served decoder for new images and write them as one PNG grid."""
    from pipelines.quiet import set_verbosity

    set_verbosity(verbose)
    if not output.parent.is_dir():
        raise InputError(f"{output.parent} is not a folder; make it, or give another --output.")
    from serving.client import DecoderClient
    from serving.image_grid import write_image_grid

    with DecoderClient(server, model_name) as client:
        images = client.generate(number, seed, kind)
    rows, columns = write_image_grid(images, output)
    click.echo(f"{output}: {number} images, {rows} rows of {columns}")
