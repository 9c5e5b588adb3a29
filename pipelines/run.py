"""One local run: check the data, run the pipeline, tell how it went."""

import contextlib
import io
import tempfile
from pathlib import Path

from rich.console import Console

from components.errors import InputError
from components.tfds_example_gen import DataSource
from pipelines.recipe import Recipe


def run_recipe(
    recipe: Recipe,
    source: DataSource,
    root: str,
    serving_name: str = "decoder",
    beam_args: list[str] | None = None,
    cache: bool = True,
    verbose: bool = False,
) -> None:
    """Runs a recipe's pipeline in this process.

    Args:
      recipe: What to train on, how, and what it must reach.
      source: Where its data set is.
      root: Folder for everything that the run writes.
      serving_name: The model's name at the server.
      beam_args: Flags for Beam.
      cache: Whether unchanged steps are reused.
      verbose: Whether the traceback of an unforeseen error is shown.

    Raises:
      InputError: If something that the user gave cannot be used; before any step runs where that
        can be known before.
    """
    console = Console()
    source.check()
    _check_writable(root)
    _prepare(source, console, verbose)
    sizes = source.split_sizes(recipe.splits)
    if sizes["test"] < recipe.gate.min_examples:
        raise InputError(
            f"The test split has {sizes['test']:,} images, but the gate asks for "
            f"{recipe.gate.min_examples:,}; widen it with --split test=..., or lower "
            "--set gate.min_examples=..."
        )
    described = ", ".join(f"{count:,} {split}" for split, count in sizes.items())
    console.print(f"{recipe.name}: {described} images, {recipe.image_format}", highlight=False)

    with console.status("Loading TFX"):
        from pipelines.local_runner import StepFailedError, run_locally
        from pipelines.metadata import sqlite_config
        from pipelines.pipeline import Places, create_pipeline
        from pipelines.summary import print_summary, read_outcome

        metadata_config = sqlite_config(root)
        pipeline = create_pipeline(
            recipe,
            source,
            Places.under(root, serving_name),
            metadata_connection_config=metadata_config,
            beam_pipeline_args=beam_args,
            enable_cache=cache,
        )
    with console.status("") as status:
        try:
            steps = run_locally(
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
    print_summary(
        console,
        steps,
        read_outcome(metadata_config, recipe.name),
        str(recipe.image_format),
    )


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
