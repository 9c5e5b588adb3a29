"""Beam: scores of both models as TFMA's metrics take them, a batch of images at a time."""

import abc
import dataclasses
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
from components.elbo_evaluator.scored_model import ScoredModel, load_scored_model

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


class _CandidateFn(_ScoreFn):
    """Scores of the candidate alone, which are many times as costly, of a chunk of images."""

    def __init__(self, candidate_path: str):
        super().__init__({CANDIDATE: candidate_path})

    def process(self, chunk: list[bytes]) -> Iterator[dict[str, Any]]:
        batch = np.array(chunk, object)
        scores = self.scores(self._models[CANDIDATE], batch)
        yield from self._extracts(batch, {CANDIDATE: scores})

    @abc.abstractmethod
    def scores(self, model: ScoredModel, batch: np.ndarray) -> Mapping[str, np.ndarray]:
        """Scores of a batch."""


class _Bound(_CandidateFn):
    def __init__(self, candidate_path: str, importance_samples: int):
        super().__init__(candidate_path)
        self._number = importance_samples

    def scores(self, model: ScoredModel, batch: np.ndarray) -> Mapping[str, np.ndarray]:
        return model.bound(batch, self._number)


class _Slopes(_CandidateFn):
    def scores(self, model: ScoredModel, batch: np.ndarray) -> Mapping[str, np.ndarray]:
        return model.slopes(batch)


@dataclasses.dataclass(frozen=True)
class Images:
    """What is scored.

    Attributes:
      files: Of the split `test`; every image in them is scored by every model, with one code.
      bound: Serialized Examples of the importance-weighted bound, object array.
      slopes: Those that the KL weight is read off from. Training images: only on them does
        training come to rest, and they tell the weight of an overfitted model too.
    """

    files: list[str]
    bound: np.ndarray
    slopes: np.ndarray


def score_models(
    pipeline: beam.Pipeline,
    model_paths: Mapping[str, str],
    images: Images,
    eval_config: config_pb2.EvalConfig,
    importance_samples: int,
    batch_size: int,
    output_path: str,
) -> None:
    """Adds the scoring of all models, and TFMA's evaluation of the scores, to a Beam pipeline.

    Args:
      pipeline: The pipeline.
      model_paths: SavedModels by name; a champion that cannot be compared is left out.
      images: What is scored.
      eval_config: Names the metrics.
      importance_samples: K of the importance-weighted bound.
      batch_size: Images scored at once.
      output_path: Where TFMA writes its metrics.
    """
    candidate = model_paths[CANDIDATE]
    scored = {
        "Score": (images.files, _ScoreFile(model_paths, batch_size)),
        "Bound": (_chunks(images.bound), _Bound(candidate, importance_samples)),
        "Slopes": (_chunks(images.slopes), _Slopes(candidate)),
    }
    extracts = [
        pipeline
        | f"{name}Inputs" >> beam.Create(inputs)
        | f"{name}Spread" >> beam.Reshuffle()
        | name >> beam.ParDo(function)
        for name, (inputs, function) in scored.items()
    ]
    evaluation = (
        extracts
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


def _chunks(examples: np.ndarray) -> list[list[bytes]]:
    return [list(examples[start : start + _CHUNK]) for start in range(0, len(examples), _CHUNK)]
