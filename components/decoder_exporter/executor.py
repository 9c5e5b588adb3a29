"""Executor of DecoderExporter."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.decoder_exporter.export import export_decoder
from components.saved_models import model_fingerprint

MODEL_KEY = "model"
DECODER_KEY = "decoder"
CODE_FINGERPRINT_KEY = "code_fingerprint"

SOURCE_FINGERPRINT_PROPERTY = "source_model_fingerprint"


class Executor(base_executor.BaseExecutor):
    """Writes the decoder and names the model that it came from."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Exports the decoder.

        Args:
          input_dict: `model`: the full Model.
          output_dict: `decoder`: Model; its custom property `source_model_fingerprint` ties it to
            the full model.
          exec_properties: `code_fingerprint`, for the cache.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        decoder = artifact_utils.get_single_instance(output_dict[DECODER_KEY])
        model_path = path_utils.serving_model_path(model.uri)
        export_decoder(model_path, path_utils.serving_model_dir(decoder.uri))
        decoder.set_string_custom_property(
            SOURCE_FINGERPRINT_PROPERTY, model_fingerprint(model_path)
        )
