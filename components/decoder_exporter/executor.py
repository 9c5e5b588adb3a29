"""Executor of DecoderExporter."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.decoder_exporter.export import export_decoder
from components.decoder_exporter.export_encoder import export_encoder
from components.saved_models import model_fingerprint

MODEL_KEY = "model"
DECODER_KEY = "decoder"
ENCODER_KEY = "encoder"
CODE_FINGERPRINT_KEY = "code_fingerprint"

SOURCE_FINGERPRINT_PROPERTY = "source_model_fingerprint"


class Executor(base_executor.BaseExecutor):
    """Writes decoder and encoder, and names the model that they came from."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Exports the decoder and the encoder.

        Args:
          input_dict: `model`: the full Model.
          output_dict: `decoder`, `encoder`: Model; the custom property `source_model_fingerprint`
            ties each to the full model. Without `encoder` in it, the decoder alone is written.
          exec_properties: `code_fingerprint`, for the cache.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        model_path = path_utils.serving_model_path(model.uri)
        fingerprint = model_fingerprint(model_path)
        for key, export in ((DECODER_KEY, export_decoder), (ENCODER_KEY, export_encoder)):
            for artifact in output_dict.get(key, []):
                export(model_path, path_utils.serving_model_dir(artifact.uri))
                artifact.set_string_custom_property(SOURCE_FINGERPRINT_PROPERTY, fingerprint)
