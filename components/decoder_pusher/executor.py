"""Executor of DecoderPusher."""

import json
import math
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.champion_resolver.executor import VERSION_PROPERTY
from components.champion_resolver.registry import ChampionRegistry
from components.decoder_exporter.executor import SOURCE_FINGERPRINT_PROPERTY
from components.decoder_pusher.push import SOURCE_KEY, push_decoder
from components.decoder_pusher.rollback import finish_rollback
from components.elbo_evaluator.results import GateResult, read_gate_result
from components.errors import InputError
from components.saved_models import model_fingerprint
from components.serving_validator.executor import (
    BLESSED_PROPERTY,
    DECODER_FINGERPRINT_PROPERTY,
    REASONS_PROPERTY,
)

MODEL_KEY = "model"
DECODER_KEY = "decoder"
CHAMPION_KEY = "champion"
EVALUATION_KEY = "evaluation"
MODEL_BLESSING_KEY = "model_blessing"
INFRA_BLESSING_KEY = "infra_blessing"
PUSHED_MODEL_KEY = "pushed_model"
SERVING_DIR_KEY = "serving_dir"
REGISTRY_KEY = "registry"
CARD_KEY = "card"
KEEP_VERSIONS_KEY = "keep_versions"
CODE_FINGERPRINT_KEY = "code_fingerprint"


class Executor(base_executor.BaseExecutor):
    """Pushes a decoder with both blessings, and only if they are of this very model."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes, or says why not.

        Args:
          input_dict: `model`, `decoder`: Model. `champion`: the Model that the candidate was judged
            against. `evaluation`, `model_blessing`: ElboEvaluator's.
            `infra_blessing`: ServingValidator's.
          output_dict: `pushed_model`: PushedModel with the custom properties `pushed` (0 or 1),
            `pushed_destination`, `pushed_version` and, if not pushed, `reason`.
          exec_properties: `serving_dir`, `registry`: folders. `card`: JSON of what the pipeline
            knows of the model. `keep_versions`: how many versions stay; missing for all.

        Raises:
          InputError: If a blessing or the decoder belongs to another model, or the blessed copy of
            the decoder is gone.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        decoder = artifact_utils.get_single_instance(input_dict[DECODER_KEY])
        model_blessing = artifact_utils.get_single_instance(input_dict[MODEL_BLESSING_KEY])
        infra_blessing = artifact_utils.get_single_instance(input_dict[INFRA_BLESSING_KEY])
        pushed = artifact_utils.get_single_instance(output_dict[PUSHED_MODEL_KEY])
        result = read_gate_result(artifact_utils.get_single_uri(input_dict[EVALUATION_KEY]))
        model_path = path_utils.serving_model_path(model.uri)
        source = model_fingerprint(model_path)
        check_belongs_together(model, source, decoder, model_blessing, infra_blessing)

        reasons = []
        if model_blessing.get_int_custom_property(BLESSED_PROPERTY) != 1:
            reasons += result.failures or ("ElboEvaluator did not bless the model",)
        if infra_blessing.get_int_custom_property(BLESSED_PROPERTY) != 1:
            reasons.append(infra_blessing.get_string_custom_property(REASONS_PROPERTY))
        registry = ChampionRegistry(exec_properties[REGISTRY_KEY])
        # Else the model that was rolled back would still be the champion.
        finish_rollback(exec_properties[SERVING_DIR_KEY], registry)
        champion = artifact_utils.get_single_instance(input_dict[CHAMPION_KEY])
        reasons += stale_blessing(
            registry, champion.get_int_custom_property(VERSION_PROPERTY), source
        )
        pushed.set_int_custom_property("pushed", int(not reasons))
        if reasons:
            pushed.set_string_custom_property("reason", "; ".join(reasons))
            return
        blessed_path = path_utils.stamped_model_path(infra_blessing.uri)
        # The blessing names the decoder's fingerprint, as was checked above.
        served = infra_blessing.get_string_custom_property(DECODER_FINGERPRINT_PROPERTY)
        if model_fingerprint(blessed_path) != served:
            raise InputError(
                f"{blessed_path} is missing or is not the decoder {decoder.uri} that was blessed; "
                "run ServingValidator again."
            )
        card = {**json.loads(exec_properties[CARD_KEY]), SOURCE_KEY: source, **scores(result)}
        push = push_decoder(
            blessed_path,
            model_path,
            card,
            exec_properties[SERVING_DIR_KEY],
            registry,
            exec_properties.get(KEEP_VERSIONS_KEY),
        )
        pushed.set_string_custom_property("pushed_destination", push.path)
        pushed.set_string_custom_property("pushed_version", str(push.version))


def check_belongs_together(
    model: types.Artifact,
    source_fingerprint: str,
    decoder: types.Artifact,
    model_blessing: types.Artifact,
    infra_blessing: types.Artifact,
) -> None:
    """Refuses blessings of another model.

    Args:
      model: The full Model.
      source_fingerprint: Its fingerprint.
      decoder: The decoder, which names the fingerprint of its model.
      model_blessing: ElboEvaluator's, which names its model's id and address.
      infra_blessing: ServingValidator's, which names its decoder's fingerprint.

    Raises:
      InputError: Naming the two that do not belong together.
    """
    of_id = model_blessing.get_int_custom_property("current_model_id")
    of_uri = model_blessing.get_string_custom_property("current_model")
    if of_uri != model.uri and not (of_id and of_id == model.id):
        raise InputError(
            f"The blessing {model_blessing.uri} is of the model {of_uri}, not of {model.uri}; "
            "give DecoderPusher the blessing of the ElboEvaluator that judged this model."
        )
    if decoder.get_string_custom_property(SOURCE_FINGERPRINT_PROPERTY) != source_fingerprint:
        raise InputError(
            f"The decoder {decoder.uri} was not exported from the model {model.uri}; "
            "give DecoderPusher the decoder and the model of one DecoderExporter."
        )
    served = infra_blessing.get_string_custom_property(DECODER_FINGERPRINT_PROPERTY)
    if served != model_fingerprint(path_utils.serving_model_path(decoder.uri)):
        raise InputError(
            f"The blessing {infra_blessing.uri} is not of the decoder {decoder.uri}; "
            "give DecoderPusher the blessing of the ServingValidator that served it."
        )


def stale_blessing(
    registry: ChampionRegistry, judged_against: int, source_fingerprint: str
) -> list[str]:
    """Says why a blessing is out of date, if it is.

    Args:
      registry: Where champions are.
      judged_against: The champion's version in the comparison; 0 for independent pixels.
      source_fingerprint: Of the candidate. If it is the newest champion itself, its push was
        interrupted or is repeated, and the blessing holds.
    """
    newest = registry.newest()
    if newest is None or newest.version == judged_against:
        return []
    if newest.card.get(SOURCE_KEY) == source_fingerprint:
        return []
    return [
        f"it was judged against champion {judged_against}, but champion {newest.version} has been "
        "pushed since; train a new candidate"
    ]


def scores(result: GateResult) -> dict[str, Any]:
    """The part of the model card that ElboEvaluator knows; nats per image."""
    names = ("elbo", "elbo_standard_error", "rate", "distortion", "importance_weighted_bound")
    # JSON has no NaN, which a model that was blessed anyway may have.
    found = {name: result.candidate.get(name, math.nan) for name in names}
    card = {name: value if math.isfinite(value) else None for name, value in found.items()}
    card["num_test_images"] = result.num_examples
    if result.bless_anyway:
        card["bless_anyway"] = result.bless_anyway
        card["failed_rules"] = list(result.failures)
    return card
