"""What a server is told to serve: a ModelServerConfig, checked as TF Serving checks it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tensorflow_serving.config import model_server_config_pb2

from serving.status import invalid_argument
from serving.version_policy import VersionPolicy

PLATFORM = "tensorflow"

_ModelConfig = model_server_config_pb2.ModelConfig


@dataclass(frozen=True)
class ModelSettings:
    """One model of a configuration.

    Attributes:
      name: The name that requests use.
      base_path: The directory that holds its version directories.
      policy: Which versions to serve.
      labels: Versions by label.
    """

    name: str
    base_path: Path
    policy: VersionPolicy
    labels: Mapping[str, int]


def one_model(name: str, base_path: Path) -> model_server_config_pb2.ModelServerConfig:
    """Returns the configuration of a server for the newest version of one model."""
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(
        name=name, base_path=str(base_path), model_platform=PLATFORM
    )
    return config


def model_settings(
    config: model_server_config_pb2.ModelServerConfig, served: Iterable[str] = ()
) -> dict[str, ModelSettings]:
    """Checks a configuration, with the codes and texts of server_core.cc (TF Serving 2.16.1).

    Args:
      config: The configuration.
      served: The names of the models that are served already.

    Returns:
      The models by name.

    Raises:
      StatusError: INVALID_ARGUMENT, if the configuration contradicts itself or asks for what this
        server cannot do.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    models = config.model_config_list.config
    names: set[str] = set()
    for model in models:
        if not model.name:
            raise invalid_argument("A model of the config list has no name.")
        if model.name in names:
            raise invalid_argument(
                f"Illegal to list model {model.name} multiple times in config list"
            )
        names.add(model.name)
    for model in models:
        if not model.base_path.startswith("/") and "://" not in model.base_path:
            raise invalid_argument(
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}"
            )
    for model in models:
        _check_platform(model, model.name in set(served))
    return {
        model.name: ModelSettings(
            model.name,
            Path(model.base_path),
            model.model_version_policy,
            dict(sorted(model.version_labels.items())),
        )
        for model in models
    }


def _check_platform(model: _ModelConfig, is_served: bool) -> None:
    platform = model.model_platform
    if model.model_type != model_server_config_pb2.MODEL_TYPE_UNSPECIFIED:
        if platform:
            raise invalid_argument(
                "Illegal setting both ModelServerConfig::model_type (deprecated) "
                f"and ModelServerConfig::model_platform, model name is {model.name}"
            )
        if model.model_type != model_server_config_pb2.TENSORFLOW:
            raise invalid_argument(
                f"ModelServerConfig::model_type choice {model.model_type} not supported."
            )
        platform = PLATFORM
    if not platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) "
            f"nor ModelServerConfig::model_platform, model name is {model.name}"
        )
    if platform != PLATFORM:
        raise invalid_argument(
            f"Illegal to change a model's platform. For model {model.name} platform was "
            f"{PLATFORM} and new platform requested is {platform}"
            if is_served
            else f"Model {model.name} requests unsupported platform {platform}"
        )
