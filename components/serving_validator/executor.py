"""Executor of ServingValidator."""

import os
import tempfile
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.saved_models import model_fingerprint
from components.serving_validator.limits import Limits
from components.serving_validator.validate import find_serving_faults

DECODER_KEY = "decoder"
BLESSING_KEY = "blessing"
MAX_LATENCY_MS_KEY = "max_latency_ms"
MAX_MODEL_BYTES_KEY = "max_model_bytes"
CODE_FINGERPRINT_KEY = "code_fingerprint"

BLESSED_PROPERTY = "blessed"
REASONS_PROPERTY = "reasons"
DECODER_FINGERPRINT_PROPERTY = "decoder_fingerprint"
# TFX's Pusher reads this property to learn that the blessing carries a model with warm-up.
HAS_MODEL_PROPERTY = "has_model"
BLESSED_FILE = "INFRA_BLESSED"
NOT_BLESSED_FILE = "INFRA_NOT_BLESSED"


class Executor(base_executor.BaseExecutor):
    """Blesses a decoder that a model server really served."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Serves, queries, and writes the blessing.

        Args:
          input_dict: `decoder`: Model.
          output_dict: `blessing`: InfraBlessing. Blessed, it holds the decoder with warm-up
            requests; not blessed, its `reasons` say why.
          exec_properties: `max_latency_ms`, `max_model_bytes`: see `Limits`; those without a bound
            are absent. `code_fingerprint`, for the cache.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        decoder = artifact_utils.get_single_instance(input_dict[DECODER_KEY])
        blessing = artifact_utils.get_single_instance(output_dict[BLESSING_KEY])
        decoder_path = path_utils.serving_model_path(decoder.uri)
        limits = Limits(
            exec_properties.get(MAX_LATENCY_MS_KEY), exec_properties.get(MAX_MODEL_BYTES_KEY)
        )
        with tempfile.TemporaryDirectory() as folder:
            # A server reads local folders; an object store's decoder is copied for it.
            local = os.path.join(folder, "decoder")
            io_utils.copy_dir(decoder_path, local)
            faults = find_serving_faults(local, limits=limits)
            if not faults:
                io_utils.copy_dir(local, path_utils.stamped_model_path(blessing.uri))
        blessing.set_string_custom_property(
            DECODER_FINGERPRINT_PROPERTY, model_fingerprint(decoder_path)
        )
        blessing.set_int_custom_property(BLESSED_PROPERTY, int(not faults))
        blessing.set_int_custom_property(HAS_MODEL_PROPERTY, int(not faults))
        blessing.set_string_custom_property(REASONS_PROPERTY, "; ".join(faults))
        verdict = NOT_BLESSED_FILE if faults else BLESSED_FILE
        io_utils.write_string_file(os.path.join(blessing.uri, verdict), "\n".join(faults))
