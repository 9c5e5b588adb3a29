"""Beam: scores of both models as TFMA's metrics take them, a batch of images at a time."""

from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator
from tensorflow_model_analysis.extractors import slice_key_extractor
from tensorflow_model_analysis.proto import config_pb2

from components.elbo_evaluator import examples as model_ready
from components.elbo_evaluator.eval_config import CANDIDATE
from components.elbo_evaluator.scored_model import load_scored_model

# Images of a chunk of chosen Examples; small enough that a few workers have something each.
_CHUNK = 250


class _ScoreFn(beam.DoFn):
    """Turns batches of Examples into one extract for each label, with arrays of scores."""

    def __init__(self, model_paths: Mapping[str, str]):
        self._paths = dict(model_paths)

    def setup(self) -> None:
        self._models = {name: load_scored_model(path) for name, path in self._paths.items()}

    def _extracts(
        self, batch: np.ndarray, scores: Mapping[str, Mapping[str, np.ndarray]]
    ) -> Iterator[dict[str, Any]]:
        labels = model_ready.labels_of(batch)
        for label in np.unique(labels):
            of_label = labels == label
            yield {
                tfma.FEATURES_KEY: {"label": np.array([label])},
                tfma.PREDICTIONS_KEY: {
                    model: {name: values[of_label] for name, values in of_model.items()}
                    for model, of_model in scores.items()
                },
            }


class _ScoreFile(_ScoreFn):
    """Scores every image of a file, by every model on the same noise."""

    def __init__(self, model_paths: Mapping[str, str], batch_size: int):
        super().__init__(model_paths)
        self._batch_size = batch_size

    def process(self, file: str) -> Iterator[dict[str, Any]]:
        for batch in model_ready.batches([file], self._batch_size):
            scores = {name: model.score(batch) for name, model in self._models.items()}
            yield from self._extracts(batch, scores)


class _ProbeChunk(_ScoreFn):
    """The costly scores, of the candidate alone and for chosen images."""

    def __init__(self, candidate_path: str, importance_samples: int):
        super().__init__({CANDIDATE: candidate_path})
        self._number = importance_samples

    def process(self, chunk: list[bytes]) -> Iterator[dict[str, Any]]:
        batch = np.array(chunk, object)
        scores = self._models[CANDIDATE].probe(batch, self._number)
        yield from self._extracts(batch, {CANDIDATE: scores})


def score_models(
    pipeline: beam.Pipeline,
    model_paths: Mapping[str, str],
    files: list[str],
    chosen: np.ndarray,
    eval_config: config_pb2.EvalConfig,
    importance_samples: int,
    batch_size: int,
    output_path: str,
) -> None:
    """Adds the scoring of all models, and TFMA's evaluation of the scores, to a Beam pipeline.

    Args:
      pipeline: The pipeline.
      model_paths: SavedModels by name; a champion that cannot be compared is left out.
      files: Of the split; every image in them is scored with one code.
      chosen: Serialized Examples that the costly scores are computed of.
      eval_config: Names the metrics.
      importance_samples: K of the importance-weighted bound.
      batch_size: Images scored at once.
      output_path: Where TFMA writes its metrics.
    """
    chunks = [list(chosen[start : start + _CHUNK]) for start in range(0, len(chosen), _CHUNK)]
    scored = (
        pipeline
        | "Files" >> beam.Create(files)
        | "SpreadFiles" >> beam.Reshuffle()
        | "ScoreFiles" >> beam.ParDo(_ScoreFile(model_paths, batch_size))
    )
    probed = (
        pipeline
        | "Chosen" >> beam.Create(chunks)
        | "SpreadChosen" >> beam.Reshuffle()
        | "ProbeChosen" >> beam.ParDo(_ProbeChunk(model_paths[CANDIDATE], importance_samples))
    )
    evaluation = (
        (scored, probed)
        | "Extracts" >> beam.Flatten()
        | "Evaluate"
        >> tfma.ExtractAndEvaluate(
            extractors=[slice_key_extractor.SliceKeyExtractor(eval_config=eval_config)],
            evaluators=[
                metrics_plots_and_validations_evaluator.MetricsPlotsAndValidationsEvaluator(
                    eval_config=eval_config
                )
            ],
        )
    )
    writers = tfma.default_writers(output_path, eval_config=eval_config)
    _ = evaluation | "Write" >> tfma.WriteResults(writers=writers)
