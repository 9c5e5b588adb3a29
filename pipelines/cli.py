"""The `tfx-vae` command. Whatever is heavy is imported in the command that needs it."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.errors import InputError

if TYPE_CHECKING:
    from components.tfds_example_gen import DataSource
    from pipelines.recipe import Recipe
    from serving.client import DecoderClient


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


def _all_of(*options: Callable) -> Callable:
    """Several options as one decorator, in the order in which the help shows them."""

    def decorate(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


data_options = _all_of(
    click.option(
        "--recipe",
        "recipe_name",
        required=True,
        metavar="NAME|FILE",
        help="A recipe of `tfx-vae recipes`, or a .yaml file of your own.",
    ),
    click.option(
        "--dataset",
        metavar="NAME|DIR",
        help="Another data set: a TFDS name, a prepared TFDS folder, or a folder of images.",
    ),
    click.option("--data-dir", metavar="DIR", help="Where TFDS keeps prepared data sets."),
    click.option(
        "--manual-dir", metavar="DIR", help="Where you put the data set's files, for TFDS to use."
    ),
    click.option("--download/--no-download", default=True, help="Whether TFDS may download."),
    click.option("--unlabelled", is_flag=True, help="The images have no labels."),
    click.option("--label-key", metavar="NAME", help="The TFDS feature to take as label."),
    click.option(
        "--split",
        "splits",
        multiple=True,
        metavar="NAME=EXPRESSION",
        help="What train, eval or test is, such as eval=train[90%:]. Repeatable.",
    ),
    click.option(
        "--binarization",
        type=click.Choice(["threshold", "stochastic", "dynamic", "none"]),
        help="How grey pixels become zeros and ones.",
    ),
)
training_options = _all_of(
    click.option(
        "--architecture", metavar="NAME", help="conv, conv_dense, conv_pool, conv_5x5 or dense."
    ),
    click.option("--formulation", metavar="a-f", help="How the loss is written down: a to f."),
    click.option("--posterior", metavar="NAME", help="diagonal, full_covariance or point."),
    click.option("--prior", metavar="NAME", help="standard_normal, mixture or vamp."),
    click.option(
        "--likelihood",
        metavar="NAME",
        help="bernoulli, gaussian, gaussian_learned_scale, gaussian_analytic_scale, "
        "continuous_bernoulli or discretized_logistic.",
    ),
    click.option("--epochs", type=int, help="Passes over the training split."),
    click.option("--batch-size", type=int, help="Images a step."),
    click.option("--seed", type=int, help="Seed of weights, shuffling and noise."),
    click.option(
        "--max-undecodable-share",
        type=float,
        help="Tolerated share, 0 to 1, of images that cannot be decoded.",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="FIELD=VALUE",
        help="Any other field of the recipe, such as gate.tolerance=0.2. Repeatable.",
    ),
)
local_options = _all_of(
    click.option(
        "--pipeline-root",
        metavar="DIR",
        help="Where artifacts, metadata and all results go.  [default: runs/RECIPE]",
    ),
    click.option(
        "--beam-arg",
        "beam_args",
        multiple=True,
        metavar="FLAG",
        help="A flag for Beam, such as --beam-arg=--runner=FlinkRunner. Repeatable.",
    ),
    click.option("--cache/--no-cache", default=True, help="Whether unchanged steps are reused."),
    verbose_option,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="tfx-vae")
def main() -> None:
    """Train, check and serve variational autoencoders with TFX.

    Start with `tfx-vae run --recipe digits`, which needs no download.
    """


@main.command()
@data_options
@training_options
@click.option("--latent-size", type=int, help="Number of latent dimensions.")
@click.option("--kl-weight", type=float, help="Weight of the rate in the training loss.")
@click.option("--learning-rate", type=float, help="Adam's peak learning rate.")
@click.option(
    "--floor",
    type=float,
    help="Least mean test ELBO that is blessed, nats per image. With another data set or "
    "binarisation than the recipe's: that of a model that knows nothing.",
)
@click.option(
    "--comparison",
    metavar="NAME",
    help="What is asked against the champion: no_worse, better or significantly_better.",
)
@click.option(
    "--min-improvement",
    type=float,
    help="Least gain over the champion, nats per image; for the last two comparisons.",
)
@click.option(
    "--full-iw",
    type=int,
    metavar="K",
    help="Importance-weighted bound of K codes on every test image: the figure for a release.",
)
@click.option(
    "--new-line",
    is_flag=True,
    help="Leave all champions so far aside, which another data set or likelihood cannot be "
    "compared with.",
)
@click.option(
    "--bless-anyway",
    metavar="REASON",
    help="Push whatever the gate says; the reason stays with the model.",
)
@click.option(
    "--serving-name",
    default="decoder",
    show_default=True,
    help="The model's name at the server; another name starts a new line of champions.",
)
@click.option(
    "--keep-versions",
    type=click.IntRange(min=2),
    metavar="N",
    help="Remove all but the newest N pushed versions, at least 2.  [default: all stay]",
)
@local_options
@one_line_errors
def run(
    pipeline_root: str | None,
    serving_name: str,
    new_line: bool,
    bless_anyway: str | None,
    full_iw: int | None,
    keep_versions: int | None,
    beam_args: tuple[str, ...],
    cache: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Run the whole pipeline here: data to pushed decoder.

    Unchanged steps are reused from earlier runs. An interrupted training goes on where it was.
    """
    _start_quietly(verbose)
    recipe, source = _recipe_and_source(**options)
    if bless_anyway is not None and not bless_anyway.strip():
        raise InputError("--bless-anyway needs a reason; it stays with the model.")
    if full_iw is not None:
        changes = {"gate.importance_samples": full_iw, "gate.importance_images": None}
        recipe = recipe.override(changes)

    from pipelines.judging import Judging
    from pipelines.run import run_recipe

    root = _root(pipeline_root, recipe)
    judging = Judging(new_line, (bless_anyway or "").strip())
    run_recipe(
        recipe,
        source,
        root,
        serving_name,
        judging,
        list(beam_args),
        cache,
        verbose,
        keep_versions,
    )


_LIST = "N,N,..."


@main.command()
@data_options
@training_options
@click.option(
    "--latent",
    required=True,
    metavar=_LIST,
    help="Numbers of latent dimensions to try, such as 2,5,8,10,16,20,50.",
)
@click.option("--kl-weight", metavar=_LIST, help="KL weights to try, each with every --latent.")
@click.option("--learning-rate", metavar=_LIST, help="Peak learning rates to try, likewise.")
@local_options
@one_line_errors
def sweep(
    latent: str,
    kl_weight: str | None,
    learning_rate: str | None,
    pipeline_root: str | None,
    beam_args: tuple[str, ...],
    cache: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Train one model for each combination of values: how many dimensions does the data need?

    Ends with a table, also as CSV, and a plot. Nothing is pushed. Trials are kept: a sweep that was
    interrupted goes on where it was, and a wider one trains what is new.
    """
    _start_quietly(verbose)
    recipe, source = _recipe_and_source(**options)

    from components.tuner import SearchSpace
    from pipelines.sweep import parse_values, run_sweep

    lists = {"latent_size": latent, "kl_weight": kl_weight, "learning_rate": learning_rate}
    given = {field: text for field, text in lists.items() if text is not None}
    search = SearchSpace(parse_values(recipe, given))
    root = _root(pipeline_root, recipe)
    run_sweep(recipe, source, root, search, list(beam_args), cache, verbose)


def _start_quietly(verbose: bool) -> None:
    from pipelines.quiet import set_verbosity

    set_verbosity(verbose)
    # A log file shows each line when it is written, not when the run has ended.
    sys.stdout.reconfigure(line_buffering=True)


def _recipe_and_source(
    recipe_name: str,
    dataset: str | None,
    data_dir: str | None,
    manual_dir: str | None,
    download: bool,
    unlabelled: bool,
    label_key: str | None,
    splits: tuple[str, ...],
    settings: tuple[str, ...],
    **fields: Any,
) -> "tuple[Recipe, DataSource]":
    """What the data and training options ask for; `fields` are those of _RECIPE_FIELDS."""
    from pipelines.recipe import load_recipe

    changes = {_RECIPE_FIELDS[name]: value for name, value in fields.items() if value is not None}
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
    return recipe, source


def _root(pipeline_root: str | None, recipe: "Recipe") -> str:
    return os.path.abspath(pipeline_root or os.path.join("runs", recipe.name))


_RECIPE_FIELDS = {
    "binarization": "image_format.binarization",
    "architecture": "training.architecture",
    "formulation": "training.formulation",
    "posterior": "training.posterior",
    "prior": "training.prior",
    "likelihood": "training.likelihood",
    "latent_size": "training.latent_size",
    "kl_weight": "training.kl_weight",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "learning_rate": "training.learning_rate",
    "seed": "training.seed",
    "floor": "gate.floor",
    "comparison": "gate.comparison",
    "min_improvement": "gate.min_improvement",
    "max_undecodable_share": "max_undecodable_share",
}


def _assignment(text: str, option: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise InputError(f"{option} {text!r} is not of the form {form}.")
    return name, value


@main.command()
@click.option(
    "--recipe",
    "recipe_name",
    required=True,
    metavar="NAME|FILE",
    help="The recipe whose decoder is served.",
)
@click.option(
    "--pipeline-root",
    metavar="DIR",
    help="Where its runs wrote their results.  [default: runs/RECIPE]",
)
@click.option(
    "--serving-name",
    default="decoder",
    show_default=True,
    help="The model's name at the server.",
)
@click.option(
    "--to",
    type=int,
    metavar="VERSION",
    help="The version to go back to.  [default: the one before the newest]",
)
@verbose_option
@one_line_errors
def rollback(
    recipe_name: str, pipeline_root: str | None, serving_name: str, to: int | None, verbose: bool
) -> None:
    """Serve an earlier version's decoder again, as a new version.

    Its full model becomes the champion that later models have to beat. Repeated, it changes
    nothing.
    """
    _start_quietly(verbose)
    from pipelines.places import Places
    from pipelines.recipe import load_recipe

    recipe = load_recipe(recipe_name)
    # Not made absolute as in a run: it may be on an object store.
    root = pipeline_root or os.path.join("runs", recipe.name)

    from components.champion_resolver.registry import ChampionRegistry
    from components.decoder_pusher.rollback import describe_rollback, roll_back

    places = Places.under(root, serving_name)
    result = roll_back(places.serving_dir, ChampionRegistry(places.registry), to)
    click.echo(describe_rollback(result))
    click.echo(f"Decoder:  {result.path}")


@main.group()
def gate() -> None:
    """What the gate found out about the last model."""


@gate.command()
@click.option(
    "--recipe",
    "recipe_name",
    required=True,
    metavar="NAME|FILE",
    help="The recipe that was run.",
)
@click.option(
    "--pipeline-root",
    metavar="DIR",
    help="Where the run wrote its results.  [default: runs/RECIPE]",
)
@verbose_option
@one_line_errors
def explain(recipe_name: str, pipeline_root: str | None, verbose: bool) -> None:
    """Print every rule, its verdict, and what is probably wrong with the model."""
    _start_quietly(verbose)
    from pipelines.recipe import load_recipe

    recipe = load_recipe(recipe_name)
    root = _root(pipeline_root, recipe)
    if not os.path.exists(os.path.join(root, "metadata.db")):
        raise InputError(
            f"{root} holds no run; start one with tfx-vae run, or name another --pipeline-root."
        )
    from rich.console import Console

    from components.elbo_evaluator.results import read_gate_result
    from pipelines.gate_table import print_gate
    from pipelines.metadata import latest_step, sqlite_config

    step = latest_step(sqlite_config(root), recipe.name, "ElboEvaluator")
    if "evaluation" not in step.outputs:
        raise InputError(
            f"ElboEvaluator of pipeline {recipe.name} did not get to its end; start tfx-vae run "
            "again."
        )
    print_gate(Console(), read_gate_result(step.outputs["evaluation"].uri))


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
@click.argument("serving_dir", type=click.Path(path_type=Path), required=False)
@click.option("--port", default=8500, show_default=True, help="gRPC port; 0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--rest-api-port", type=int, help="Port of the REST API; without it there is none.")
@click.option(
    "--model-name", show_default="decoder", help="The name that clients ask for, with SERVING_DIR."
)
@click.option(
    "--model-config-file",
    type=click.Path(path_type=Path),
    help="ModelServerConfig in text format, instead of SERVING_DIR: several models, version "
    "policies and labels.",
)
@click.option(
    "--server-flag",
    "server_flags",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other flag of `python -m serving.server`, for example "
    "ssl_config_file=ssl.config; may be repeated.",
)
@verbose_option
@one_line_errors
def serve(
    serving_dir: Path | None,
    port: int,
    host: str,
    rest_api_port: int | None,
    model_name: str | None,
    model_config_file: Path | None,
    server_flags: tuple[str, ...],
    verbose: bool,
) -> None:
    """Serve the newest version in SERVING_DIR, as TensorFlow Serving does.

    A version that is pushed while the server runs replaces the old one without a pause.
    """
    from pipelines.quiet import set_verbosity

    set_verbosity(verbose)
    from serving.server import main as serve_forever

    if (serving_dir is None) == (model_config_file is None):
        raise InputError("Give either SERVING_DIR or a --model-config-file.")
    if model_name is None and model_config_file is None:
        model_name = "decoder"
    flags = {
        "port": port,
        "host": host,
        "rest_api_port": rest_api_port,
        "model_name": model_name,
        "model_base_path": serving_dir,
        "model_config_file": model_config_file,
    }
    arguments = [f"--{name}={value}" for name, value in flags.items() if value is not None]
    arguments += [f"--{flag.removeprefix('--')}" for flag in server_flags]
    sys.exit(serve_forever(arguments))


def _picture_options(default_output: str) -> Callable:
    """What every command needs that asks a served decoder for a picture."""
    return _all_of(
        click.option(
            "--server",
            default="127.0.0.1:8500",
            show_default=True,
            metavar="HOST:PORT",
            help="gRPC server; unix:/PATH for a socket.",
        ),
        click.option(
            "--model-name", default="decoder", show_default=True, help="The served model."
        ),
        click.option(
            "--kind",
            type=click.Choice(["mean", "mode", "sample"]),
            default="mean",
            show_default=True,
            help="Mean, likeliest value, or a draw of each pixel.",
        ),
        click.option(
            "--output",
            default=default_output,
            show_default=True,
            type=click.Path(dir_okay=False, path_type=Path),
            help="The PNG file to write.",
        ),
        verbose_option,
    )


def _connect(server: str, model_name: str, output: Path, verbose: bool) -> "DecoderClient":
    """A client, once it is known that its picture can be written."""
    from pipelines.quiet import set_verbosity

    set_verbosity(verbose)
    if not output.parent.is_dir():
        raise InputError(f"{output.parent} is not a folder; make it, or give another --output.")
    from serving.client import DecoderClient

    return DecoderClient(server, model_name)


@main.command()
@click.option("--number", default=64, show_default=True, help="How many images.")
@click.option("--seed", default=0, show_default=True, help="Seed of the codes.")
@click.option(
    "--temperature",
    default=1.0,
    show_default=True,
    help="Multiplies the prior's standard deviations: below 1 typical images, above 1 odd ones.",
)
@_picture_options("generated.png")
@one_line_errors
def generate(
    number: int,
    seed: int,
    temperature: float,
    server: str,
    model_name: str,
    kind: str,
    output: Path,
    verbose: bool,
) -> None:
    """Ask a served decoder for new images and write them as one PNG grid."""
    from serving.image_grid import write_image_grid

    with _connect(server, model_name, output, verbose) as client:
        images = client.generate(number, seed, kind, temperature)
    rows, columns = write_image_grid(images, output)
    click.echo(f"{output}: {number} images, {rows} rows of {columns}")


@main.command()
@click.option("--from", "start", type=int, required=True, help="Seed of the first image's code.")
@click.option("--to", "end", type=int, required=True, help="Seed of the last image's code.")
@click.option("--steps", default=12, show_default=True, help="How many images, both ends included.")
@click.option("--linear", is_flag=True, help="Go along a straight line, not a great circle.")
@_picture_options("interpolated.png")
@one_line_errors
def interpolate(
    start: int,
    end: int,
    steps: int,
    linear: bool,
    server: str,
    model_name: str,
    kind: str,
    output: Path,
    verbose: bool,
) -> None:
    """Ask a served decoder for the way from one image to another and write it as one PNG row.

    The ends are the images that `generate --number 1` gives for the two seeds.
    """
    from serving.image_grid import write_image_grid

    with _connect(server, model_name, output, verbose) as client:
        first, last = (client.draw_codes(1, seed)[0] for seed in (start, end))
        images = client.interpolate(first, last, steps, not linear, kind)
    write_image_grid(images, output, columns=steps)
    click.echo(f"{output}: {steps} images from seed {start} to seed {end}")


@main.command()
@click.option(
    "--dimensions",
    metavar="A,B",
    help="The latent dimensions to show, counted from 0, where there are more than two; the others "
    "are 0.",
)
@_picture_options("manifold.png")
@one_line_errors
def manifold(
    dimensions: str | None,
    server: str,
    model_name: str,
    kind: str,
    output: Path,
    verbose: bool,
) -> None:
    """Ask a served decoder for its images on a plane of codes and write them as one PNG grid.

    Codes are quantiles of a normal distribution: the first dimension grows to the right, the second
    downwards.
    """
    chosen = None if dimensions is None else _two_numbers(dimensions)
    from serving.image_grid import write_image_grid
    from serving.latent_plane import SIDE, plane_codes

    with _connect(server, model_name, output, verbose) as client:
        codes = plane_codes(client.latent_size(), chosen)
        images = client.decode(codes, kind)
    write_image_grid(images, output, columns=SIDE)
    click.echo(f"{output}: {len(images)} images, {SIDE} rows of {SIDE}")


def _two_numbers(text: str) -> tuple[int, int]:
    first, _, second = text.partition(",")
    try:
        return int(first), int(second)
    except ValueError as error:
        raise InputError(f"--dimensions {text!r} is not of the form A,B, such as 0,1.") from error
