"""Executor of ModelReport."""

import json
import os
from typing import Any

import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.champion_resolver.executor import (
    KIND_PROPERTY,
    VERSION_PROPERTY,
    describe_champion,
)
from components.elbo_evaluator.results import read_gate_result
from components.image_binarizer.image_format import ImageFormat
from components.model_report.history import read_history
from components.model_report.probes import MAX_IMAGES
from components.model_report.report import build_report

EXAMPLES_KEY = "examples"
MODEL_KEY = "model"
MODEL_RUN_KEY = "model_run"
EVALUATION_KEY = "evaluation"
BLESSING_KEY = "blessing"
CHAMPION_KEY = "champion"
REPORT_KEY = "report"
RECIPE_KEY = "recipe"
CODE_FINGERPRINT_KEY = "code_fingerprint"

PAGE_PROPERTY = "page"
PAGE_FILE = "index.html"


class Executor(base_executor.BaseExecutor):
    """Writes the page of a run."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the page.

        Args:
          input_dict: `examples`: model-ready Examples with a `test` split. `model`, `model_run`:
            the candidate and its training. `evaluation`, `blessing`: ElboEvaluator's.
            `champion`: the model that the candidate was compared with.
          output_dict: `report`: ModelEvaluation with `index.html`; its custom property `page` is
            that file's path.
          exec_properties: `recipe`: JSON of the recipe. `code_fingerprint`, for the cache.

        Raises:
          InputError: If the model lacks a signature or the Examples their image format.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples_uri = artifact_utils.get_single_uri(input_dict[EXAMPLES_KEY])
        test_uri = artifact_utils.get_split_uri(input_dict[EXAMPLES_KEY], "test")
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        blessing = artifact_utils.get_single_instance(input_dict[BLESSING_KEY])
        champion = artifact_utils.get_single_instance(input_dict[CHAMPION_KEY])
        report = artifact_utils.get_single_instance(output_dict[REPORT_KEY])
        history_path = os.path.join(
            artifact_utils.get_single_uri(input_dict[MODEL_RUN_KEY]), "history.csv"
        )
        html = build_report(
            recipe=json.loads(exec_properties[RECIPE_KEY]),
            image_format=ImageFormat.read(examples_uri),
            gate=read_gate_result(artifact_utils.get_single_uri(input_dict[EVALUATION_KEY])),
            blessed=blessing.get_int_custom_property("blessed") == 1,
            champion=describe_champion(
                champion.get_string_custom_property(KIND_PROPERTY),
                champion.get_int_custom_property(VERSION_PROPERTY),
            ),
            history=read_history(_read_text(history_path)),
            model=tf.saved_model.load(path_utils.serving_model_path(model.uri)),
            test_examples=_first_records(test_uri, MAX_IMAGES),
        )
        path = os.path.join(report.uri, PAGE_FILE)
        io_utils.write_string_file(path, html)
        report.set_string_custom_property(PAGE_PROPERTY, path)


def _read_text(path: str) -> str:
    if not fileio.exists(path):
        return ""
    with fileio.open(path, "rb") as file:
        return file.read().decode("utf-8", errors="replace")


def _first_records(split_uri: str, limit: int) -> list[bytes]:
    files = sorted(tf.io.gfile.glob(os.path.join(split_uri, "*")))
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").take(limit)
    return list(records.as_numpy_iterator())
