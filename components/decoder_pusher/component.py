"""TFX component that pushes a decoder to a model server's folder."""

import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.code_fingerprint import code_fingerprint
from components.decoder_pusher import executor
from components.errors import InputError


class DecoderPusherSpec(ComponentSpec):
    """Parameters, inputs and outputs of DecoderPusher."""

    PARAMETERS = {  # noqa: RUF012
        executor.SERVING_DIR_KEY: ExecutionParameter(type=str),
        executor.REGISTRY_KEY: ExecutionParameter(type=str),
        executor.CARD_KEY: ExecutionParameter(type=str),
        executor.KEEP_VERSIONS_KEY: ExecutionParameter(type=int, optional=True),
        executor.CODE_FINGERPRINT_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        executor.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        executor.DECODER_KEY: ChannelParameter(type=standard_artifacts.Model),
        executor.CHAMPION_KEY: ChannelParameter(type=standard_artifacts.Model),
        executor.EVALUATION_KEY: ChannelParameter(type=standard_artifacts.ModelEvaluation),
        executor.MODEL_BLESSING_KEY: ChannelParameter(type=standard_artifacts.ModelBlessing),
        executor.INFRA_BLESSING_KEY: ChannelParameter(type=standard_artifacts.InfraBlessing),
    }
    OUTPUTS = {  # noqa: RUF012
        executor.PUSHED_MODEL_KEY: ChannelParameter(type=standard_artifacts.PushedModel),
    }


class DecoderPusher(base_component.BaseComponent):
    """Pushes a decoder that both validators blessed, and makes its model the champion.

    Unlike the stock Pusher it checks that the blessings are of this model and that no other
    champion was pushed since, makes the version appear whole, and numbers versions 1, 2, 3, ...

    Component `outputs` contains:
     - `pushed_model`: Channel of type `standard_artifacts.PushedModel`.
    """

    SPEC_CLASS = DecoderPusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        decoder: types.BaseChannel,
        champion: types.BaseChannel,
        evaluation: types.BaseChannel,
        model_blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        serving_dir: str,
        registry: str,
        card: Mapping[str, Any],
        keep_versions: int | None = None,
    ):
        """Constructs the component.

        Args:
          model: The full Model. _required_
          decoder: DecoderExporter's output of it. _required_
          champion: The model that ElboEvaluator compared it with. _required_
          evaluation: ElboEvaluator's numbers, for the model card. _required_
          model_blessing: ElboEvaluator's verdict. _required_
          infra_blessing: ServingValidator's verdict. _required_
          serving_dir: The folder that a model server watches. _required_
          registry: Folder of champions, as ChampionResolver reads it. _required_
          card: What the pipeline knows of the model; must hold `image_format`, the fields of
            ImageFormat. _required_
          keep_versions: How many of the newest versions stay, with their champions; at least 2. All
            stay if None.

        Raises:
          InputError: If `keep_versions` is below 2.
        """
        if keep_versions is not None and keep_versions < 2:
            raise InputError(
                f"keep_versions must be at least 2, not {keep_versions}: the newest, and the one "
                "that serves until a server has loaded it."
            )
        spec = DecoderPusherSpec(
            **{
                executor.MODEL_KEY: model,
                executor.DECODER_KEY: decoder,
                executor.CHAMPION_KEY: champion,
                executor.EVALUATION_KEY: evaluation,
                executor.MODEL_BLESSING_KEY: model_blessing,
                executor.INFRA_BLESSING_KEY: infra_blessing,
                executor.SERVING_DIR_KEY: serving_dir,
                executor.REGISTRY_KEY: registry,
                executor.CARD_KEY: json.dumps(card, sort_keys=True),
                executor.KEEP_VERSIONS_KEY: keep_versions,
                executor.CODE_FINGERPRINT_KEY: code_fingerprint(
                    "components.decoder_pusher",
                    "components.champion_resolver",
                    "components.saved_models",
                ),
                executor.PUSHED_MODEL_KEY: types.Channel(type=standard_artifacts.PushedModel),
            }
        )
        super().__init__(spec=spec)
