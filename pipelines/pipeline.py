"""The graph: which component feeds which."""

from tfx.components.example_validator.component import ExampleValidator
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration import pipeline as tfx_pipeline

from components.champion_resolver import ChampionResolver
from components.decoder_exporter import DecoderExporter
from components.decoder_pusher import DecoderPusher
from components.elbo_evaluator import ElboEvaluator
from components.image_binarizer import ImageBinarizer
from components.model_report import ModelReport
from components.serving_validator import ServingValidator
from components.tfds_example_gen import DataSource, TfdsExampleGen
from components.trainer import vae_trainer
from pipelines.judging import Judging
from pipelines.places import Places
from pipelines.recipe import Recipe
from schemas import schema_file


def data_components(recipe: Recipe, source: DataSource) -> list[BaseComponent]:
    """From the data set to model-ready Examples; ImageBinarizer is the last.

    Args:
      recipe: What the data set is and what the model sees of it.
      source: Where it is read from.
    """
    example_gen = TfdsExampleGen(source=source, splits=recipe.splits)
    # Labels of -1 break a curated schema; a user's own folder has none.
    schema_name = "image_folder" if source.unlabelled else source.describe()["name"]
    schema_gen = ImportSchemaGen(schema_file=str(schema_file(schema_name)))
    statistics_gen = StatisticsGen(
        examples=example_gen.outputs["examples"], schema=schema_gen.outputs["schema"]
    )
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    binarizer = ImageBinarizer(
        examples=example_gen.outputs["examples"],
        anomalies=example_validator.outputs["anomalies"],
        image_format=recipe.image_format,
        max_undecodable_share=recipe.max_undecodable_share,
    )
    return [example_gen, statistics_gen, schema_gen, example_validator, binarizer]


def create_pipeline(
    recipe: Recipe,
    source: DataSource,
    places: Places,
    metadata_connection_config=None,
    beam_pipeline_args: list[str] | None = None,
    enable_cache: bool = True,
    judging: Judging | None = None,
    keep_versions: int | None = None,
) -> tfx_pipeline.Pipeline:
    """The whole pipeline of a recipe, for any TFX runner.

    Args:
      recipe: What to train on, how, and what it must reach.
      source: Where the recipe's data set is read from.
      places: Where things are kept.
      metadata_connection_config: ML Metadata connection; None where the runner has its own.
      beam_pipeline_args: Flags for every Beam step, such as `--runner=FlinkRunner`.
      enable_cache: Whether steps with unchanged inputs, parameters and code are reused.
      judging: What this run asks of the gate beside its recipe.
      keep_versions: How many of the newest pushed versions stay; None keeps all.
    """
    judging = judging or Judging()
    recipe_fields = recipe.to_dict()
    del recipe_fields["name"]
    data_steps = data_components(recipe, source)
    examples = data_steps[-1].outputs["model_ready_examples"]
    trainer = vae_trainer(examples=examples, config=recipe.training)
    model = trainer.outputs["model"]
    champion_resolver = ChampionResolver(
        examples=examples,
        model=model,
        registry=places.registry,
        serving_dir=places.serving_dir,
        likelihood=recipe.training.likelihood,
        gaussian_scale=recipe.training.gaussian_scale,
        new_line=judging.new_line,
    )
    evaluator = ElboEvaluator(
        examples=examples,
        model=model,
        champion=champion_resolver.outputs["champion"],
        gate=recipe.gate,
        bless_anyway=judging.bless_anyway,
    )
    exporter = DecoderExporter(model=model)
    validator = ServingValidator(decoder=exporter.outputs["decoder"])
    pusher = DecoderPusher(
        model=model,
        decoder=exporter.outputs["decoder"],
        champion=champion_resolver.outputs["champion"],
        evaluation=evaluator.outputs["evaluation"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=validator.outputs["blessing"],
        serving_dir=places.serving_dir,
        registry=places.registry,
        # The whole recipe, so that a served model says how it was made.
        card={"recipe": recipe.name, **recipe_fields, "dataset": source.describe()},
        keep_versions=keep_versions,
    )
    report = ModelReport(
        examples=examples,
        model=model,
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        blessing=evaluator.outputs["blessing"],
        champion=champion_resolver.outputs["champion"],
        recipe=recipe.to_dict(),
    )
    return tfx_pipeline.Pipeline(
        pipeline_name=recipe.name,
        pipeline_root=places.artifacts,
        components=[
            *data_steps,
            trainer,
            champion_resolver,
            evaluator,
            exporter,
            validator,
            pusher,
            report,
        ],
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=beam_pipeline_args,
        enable_cache=enable_cache,
    )
