"""A sweep: one training for each combination of values, compared in a table and a plot."""

import json
import os
from collections.abc import Mapping

from rich.console import Console

from components.errors import InputError
from components.tfds_example_gen import DataSource
from components.tuner import SearchSpace
from pipelines.recipe import Recipe
from pipelines.run import describe_data, prepare_data, run_steps


def parse_values(recipe: Recipe, lists: Mapping[str, str]) -> dict[str, list]:
    """The values to try, from text such as `2,5,8`.

    Args:
      recipe: What is swept.
      lists: Field of TrainingConfig to its values, with commas between them.

    Raises:
      InputError: If a value does not fit its field.
    """
    return {
        field: [
            getattr(recipe.override({f"training.{field}": value.strip()}).training, field)
            for value in text.split(",")
        ]
        for field, text in lists.items()
    }


def run_sweep(
    recipe: Recipe,
    source: DataSource,
    root: str,
    search: SearchSpace,
    beam_args: list[str] | None = None,
    cache: bool = True,
    verbose: bool = False,
) -> None:
    """Runs a recipe's data steps and a Tuner in this process, and compares the trials.

    Args:
      recipe: What to train on, and how but for the searched fields.
      source: Where its data set is.
      root: Folder for everything that the sweep writes; a run of the recipe may share it.
      search: A grid; `latent_size` is one of its fields.
      beam_args: Flags for Beam.
      cache: Whether unchanged steps and trials are reused.
      verbose: Whether the traceback of an unforeseen error is shown.

    Raises:
      InputError: If something that the user gave cannot be used; before any step runs where that
        can be known before.
    """
    configurations = search.configurations(recipe.training)
    for config in configurations:
        config.check_fits(recipe.image_format)
    console = Console()
    sizes = prepare_data(recipe, source, root, console, verbose)
    console.print(describe_data(recipe, sizes), highlight=False)

    with console.status("Loading TFX"):
        from tfx.orchestration.pipeline import Pipeline

        from components.trainer.config import CODE_FINGERPRINT_KEY
        from components.tuner import vae_tuner
        from components.tuner.trials import read_result, trial_folder
        from pipelines.metadata import latest_step, sqlite_config
        from pipelines.pipeline import data_components
        from pipelines.places import Places
        from pipelines.sweep_report import Row, report_sweep

        metadata_config = sqlite_config(root)
        trials_dir = os.path.join(root, "trials")
        data_steps = data_components(recipe, source)
        binarizer = data_steps[-1]
        tuner = vae_tuner(
            examples=binarizer.outputs["model_ready_examples"],
            config=recipe.training,
            search=search,
            trials_dir=trials_dir,
        )
        pipeline = Pipeline(
            # As in a run of the recipe, whose cached data steps it shares.
            pipeline_name=recipe.name,
            pipeline_root=Places.under(root, "").artifacts,
            components=[*data_steps, tuner],
            metadata_connection_config=metadata_config,
            beam_pipeline_args=beam_args,
            enable_cache=cache,
        )
    run_steps(pipeline, console, verbose)

    examples = latest_step(metadata_config, recipe.name, binarizer.id).outputs
    examples_uri = examples["model_ready_examples"].uri
    fingerprint = json.loads(tuner.exec_properties["custom_config"])[CODE_FINGERPRINT_KEY]
    rows = []
    for config in configurations:
        folder = trial_folder(trials_dir, config, examples_uri, fingerprint)
        result = read_result(folder)
        if result is None:
            raise InputError(
                f"The trials of this cached sweep are no longer in {trials_dir}; run it again "
                "with --no-cache."
            )
        values = {field: getattr(config, field) for field in search.fields}
        rows.append(Row(values, result, str(folder)))
    report_sweep(console, rows, root, f"{sizes['eval']:,} validation images, {recipe.image_format}")
