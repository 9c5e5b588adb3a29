"""One local run: check the data, run the pipeline, tell how it went."""

import contextlib
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from components.errors import InputError
from components.tfds_example_gen import DataSource
from pipelines.judging import Judging
from pipelines.recipe import Recipe

if TYPE_CHECKING:
    # At run time only after the data has been checked, because TFX takes seconds.
    from tfx.orchestration.pipeline import Pipeline

    from pipelines.local_runner import Step


def run_recipe(
    recipe: Recipe,
    source: DataSource,
    root: str,
    serving_name: str = "decoder",
    judging: Judging | None = None,
    beam_args: list[str] | None = None,
    cache: bool = True,
    verbose: bool = False,
    keep_versions: int | None = None,
) -> None:
    """Runs a recipe's pipeline in this process.

    Args:
      recipe: What to train on, how, and what it must reach.
      source: Where its data set is.
      root: Folder for everything that the run writes.
      serving_name: The model's name at the server.
      judging: What this run asks of the gate.
      beam_args: Flags for Beam.
      cache: Whether unchanged steps are reused.
      verbose: Whether the traceback of an unforeseen error is shown.
      keep_versions: How many of the newest pushed versions stay; None keeps all.

    Raises:
      InputError: If something that the user gave cannot be used; before any step runs where that
        can be known before.
    """
    console = Console()
    judging = judging or Judging()
    sizes = prepare_data(recipe, source, root, console, verbose)
    if sizes["test"] < recipe.gate.min_examples:
        raise InputError(
            f"The test split has {sizes['test']:,} images, but the gate asks for "
            f"{recipe.gate.min_examples:,}; widen it with --split test=..., or lower "
            "--set gate.min_examples=..."
        )
    console.print(describe_data(recipe, sizes), highlight=False)

    with console.status("Loading TFX"):
        from pipelines.metadata import sqlite_config
        from pipelines.pipeline import create_pipeline
        from pipelines.places import Places
        from pipelines.summary import print_summary, read_outcome

        metadata_config = sqlite_config(root)
        places = Places.under(root, serving_name)
        if not judging.new_line:
            _check_champion(recipe, source, places.registry)
        pipeline = create_pipeline(
            recipe,
            source,
            places,
            metadata_connection_config=metadata_config,
            beam_pipeline_args=beam_args,
            enable_cache=cache,
            judging=judging,
            keep_versions=keep_versions,
        )
    steps = run_steps(pipeline, console, verbose)
    print_summary(
        console,
        steps,
        read_outcome(metadata_config, recipe.name),
        str(recipe.image_format),
    )


def _check_champion(recipe: Recipe, source: DataSource, registry: str) -> None:
    """Says now, rather than after an hour of training, that no champion can be beaten."""
    from components.champion_resolver.registry import ChampionRegistry
    from components.elbo_evaluator.comparability import ScoreUnit, incomparable

    champion = ChampionRegistry(registry).newest()
    if champion is None:
        return
    reason = incomparable(
        ScoreUnit(
            champion.image_format,
            champion.likelihood,
            champion.card.get("dataset", {}).get("name", ""),
        ),
        ScoreUnit(recipe.image_format, recipe.training.likelihood, source.describe()["name"]),
    )
    if reason:
        raise InputError(f"Nothing was trained: {reason}.")


def prepare_data(
    recipe: Recipe, source: DataSource, root: str, console: Console, verbose: bool
) -> dict[str, int]:
    """Checks what can be checked before any step, and gets the data set, as TFDS has it.

    Args:
      recipe: Names the splits.
      source: Where the data set is.
      root: Folder for everything that the run writes.
      console: Where TFDS may draw its bars.
      verbose: Whether TFDS may print anything else.

    Returns:
      Images by split.

    Raises:
      InputError: If the data cannot be used, or the folder not be written.
    """
    source.check()
    _check_writable(root)
    _prepare(source, console, verbose)
    return source.split_sizes(recipe.splits)


def describe_data(recipe: Recipe, sizes: Mapping[str, int]) -> str:
    """The line that a run begins with.

    Args:
      recipe: What is run.
      sizes: Images by split.
    """
    described = ", ".join(f"{count:,} {split}" for split, count in sizes.items())
    return f"{recipe.name}: {described} images, {recipe.image_format}"


def run_steps(pipeline: "Pipeline", console: Console, verbose: bool) -> "list[Step]":
    """Runs a pipeline here, with a line a step.

    Args:
      pipeline: With a metadata connection of its own.
      console: Where the lines go.
      verbose: Whether the traceback of an unforeseen error is shown.

    Returns:
      The steps, in the order in which they ended.

    Raises:
      InputError: If a step fails; it says which and why.
    """
    from pipelines.local_runner import StepFailedError, run_locally

    with console.status("") as status:
        try:
            return run_locally(
                pipeline,
                on_start=lambda node_id: status.update(node_id),
                on_end=lambda step: console.print(
                    f"  {step.node_id:<18}"
                    + (" cached" if step.cached else f"{step.seconds:6.1f} s"),
                    highlight=False,
                ),
            )
        except StepFailedError as failure:
            if verbose:
                raise
            cause = failure.__cause__
            if isinstance(cause, KeyboardInterrupt):
                raise cause from failure
            if isinstance(cause, InputError):
                raise InputError(f"{failure}: {cause}") from failure
            reason = next(iter(str(cause).strip().splitlines()), "")
            raise InputError(
                f"{failure}: {type(cause).__name__}: {reason} (--verbose shows where)"
            ) from failure


def _prepare(source: DataSource, console: Console, verbose: bool) -> None:
    """Downloads and writes the data set, the first time that it is used."""
    import tensorflow_datasets as tfds

    if verbose:
        source.prepare()
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if not console.is_terminal:
            # Without a terminal, TFDS would write a line for every change of its bars.
            tfds.disable_progress_bar()
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        source.prepare()


def _check_writable(root: str) -> None:
    """Fails now rather than after an hour of training."""
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise InputError(
            f"Cannot write to the pipeline root {root} ({error.strerror}); "
            "give another with --pipeline-root."
        ) from error
