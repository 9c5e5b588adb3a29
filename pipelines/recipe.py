"""A recipe: everything that decides what a pipeline trains on, how, and what it must reach."""

import dataclasses
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from components.elbo_evaluator import GateConfig
from components.errors import InputError
from components.image_binarizer import ImageFormat
from components.trainer import TrainingConfig

_RECIPES_FOLDER = Path(__file__).parent / "recipes"
REQUIRED_SPLITS = ("train", "eval", "test")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Data, model, training and gate; round-trips through YAML.

    Attributes:
      name: Names the pipeline.
      description: One line for the list of recipes.
      dataset: A TFDS name, a prepared TFDS folder, or a folder of images.
      splits: TFDS split expressions for `train`, `eval` (validation) and `test`.
      image_format: Size, channels and binarisation of the images that the model sees.
      training: Model and optimisation.
      gate: What a model must show to be pushed.
      max_undecodable_share: Tolerated share of images that cannot be decoded.
      mended: What the article it comes from had wrong and is right here; empty if nothing.
    """

    name: str
    description: str
    dataset: str
    splits: Mapping[str, str]
    image_format: ImageFormat
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    gate: GateConfig = dataclasses.field(default_factory=GateConfig)
    max_undecodable_share: float = 0.0
    mended: str = ""

    def __post_init__(self):
        missing = [split for split in REQUIRED_SPLITS if split not in self.splits]
        if missing:
            raise InputError(
                f"Recipe {self.name} has no split {', '.join(missing)}; give it one, "
                f"for instance --split {missing[0]}=train[:80%]."
            )
        self.training.check_fits(self.image_format)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain data, in the order of the fields."""
        # Through JSON, which has lists but no tuples, as YAML has.
        return json.loads(json.dumps({**dataclasses.asdict(self), "splits": dict(self.splits)}))

    def to_yaml(self) -> str:
        """The recipe in full, as a file that `load_recipe` reads."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Builds a recipe from nested plain data.

        Raises:
          InputError: If a field is unknown, missing or has a wrong value.
        """
        return _build(cls, values, "")

    def override(self, changes: Mapping[str, Any]) -> "Recipe":
        """A recipe with some fields changed.

        A floor says something about one kind of score. With another data set, image format or
        likelihood the recipe's own floors are dropped, unless the changes name them.

        Args:
          changes: Dotted field name, such as `training.epochs`, to value.

        Raises:
          InputError: If a field is unknown or a value does not fit.
        """
        values = self.to_dict()
        for path, value in changes.items():
            *parents, leaf = path.split(".")
            target = values
            for parent in parents:
                if not isinstance(target.get(parent), dict):
                    raise InputError(f"A recipe has no field {path!r}; see `tfx-vae recipes show`.")
                target = target[parent]
            target[leaf] = value
        changed = self.from_dict(values)
        if changed._scored_on() == self._scored_on():
            return changed
        floors = [name for name in ("floor", "label_floor") if f"gate.{name}" not in changes]
        gate = dataclasses.replace(changed.gate, **dict.fromkeys(floors))
        return dataclasses.replace(changed, gate=gate)

    def _scored_on(self) -> tuple:
        return self.dataset, self.image_format, self.training.likelihood


def recipe_names() -> list[str]:
    """The recipes that come with the project."""
    return sorted(path.stem for path in _RECIPES_FOLDER.glob("*.yaml"))


def load_recipe(name_or_path: str) -> Recipe:
    """Reads a recipe by name, or from a YAML file of the user's.

    Raises:
      InputError: If there is no such recipe or file, or it does not make sense.
    """
    is_path = name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path
    path = Path(name_or_path) if is_path else _RECIPES_FOLDER / f"{name_or_path}.yaml"
    if not path.is_file():
        raise InputError(
            f"There is no recipe {name_or_path!r}; choose one of {', '.join(recipe_names())}, "
            "or give the path of a .yaml file."
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a recipe; see `tfx-vae recipes show mnist` for one.")
    return Recipe.from_dict({"name": path.stem, **values})


def _build(cls: type, values: Mapping[str, Any], prefix: str) -> Any:
    """A dataclass from plain data, with every field checked by name and type."""
    types = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(types))
    if unknown:
        raise InputError(
            f"A recipe has no field {prefix + unknown[0]!r}; "
            f"known here: {', '.join(prefix + name for name in types)}."
        )
    fields = {}
    for field in dataclasses.fields(cls):
        if field.name in values:
            fields[field.name] = _convert(
                values[field.name], types[field.name], prefix + field.name
            )
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(f"The recipe lacks the field {prefix + field.name!r}.")
    return cls(**fields)


def _convert(value: Any, kind: Any, name: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise InputError(f"{name} must be a mapping of fields, not {value!r}.")
        return _build(kind, value, f"{name}.")
    if typing.get_origin(kind) is typing.Literal:
        return value
    if typing.get_origin(kind) in (dict, Mapping, typing.get_origin(Mapping[str, str])):
        if not isinstance(value, Mapping):
            raise InputError(f"{name} must be a mapping, not {value!r}.")
        return {str(key): str(item) for key, item in value.items()}
    if typing.get_origin(kind) is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            items = [items]
        return tuple(_convert(item, typing.get_args(kind)[0], name) for item in items)
    options = typing.get_args(kind) or (kind,)
    # The command line knows text alone.
    if type(None) in options and (value is None or value in ("none", "null")):
        return None
    target = next(option for option in options if option is not type(None))
    try:
        # YAML reads 1e-3 as text, and bool is an int to Python.
        if isinstance(value, bool) or (target is int and float(value) != int(float(value))):
            raise ValueError
        return target(float(value)) if target is int else target(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be {_NAMES[target]}, not {value!r}.") from None


_NAMES = {int: "a whole number", float: "a number", str: "text"}
