"""Recipes: complete, round-tripping, and refusing what makes no sense."""

from pathlib import Path

import pytest
import yaml

from components.errors import InputError
from components.tfds_example_gen import DataSource
from pipelines.recipe import Recipe, load_recipe, recipe_names
from schemas import schema_file


def test_every_recipe_has_its_row_in_the_readme():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert len(recipe_names()) == 15
    for name in recipe_names():
        assert f"\n| `{name}` |" in readme


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_round_trips_through_yaml(name, tmp_path):
    recipe = load_recipe(name)
    assert recipe.name == name
    path = tmp_path / "copy.yaml"
    path.write_text(recipe.to_yaml())
    assert load_recipe(str(path)) == recipe


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_names_a_data_set_that_exists_and_has_a_curated_schema(name):
    recipe = load_recipe(name)
    assert DataSource(recipe.dataset).describe()["name"] == recipe.dataset
    assert schema_file(recipe.dataset).parent.name == recipe.dataset


def test_a_file_takes_its_name_from_the_file(tmp_path):
    values = load_recipe("mnist").to_dict()
    del values["name"]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(values))
    assert load_recipe(str(path)).name == "mine"


def test_override_changes_nested_fields_and_converts_types():
    recipe = load_recipe("mnist").override(
        {"training.epochs": "3", "training.learning_rate": "1e-4", "splits.test": "train[:5%]"}
    )
    assert recipe.training.epochs == 3
    assert recipe.training.learning_rate == 1e-4
    assert recipe.splits["test"] == "train[:5%]"
    assert recipe.training.latent_size == load_recipe("mnist").training.latent_size


def test_a_floor_can_be_left_out():
    assert load_recipe("horses_or_humans").gate.floor is None
    assert load_recipe("mnist").override({"gate.floor": None}).gate.floor is None


@pytest.mark.parametrize(
    ("changes", "floor"),
    [
        ({"training.epochs": 1}, -180.0),
        ({"dataset": "./scans"}, None),
        ({"image_format.binarization": "dynamic"}, None),
        ({"image_format.height": 32}, None),
        ({"dataset": "./scans", "gate.floor": -150}, -150.0),
        ({"dataset": "mnist"}, -180.0),
    ],
)
def test_a_floor_is_about_one_kind_of_image(changes, floor):
    recipe = load_recipe("mnist").override({"gate.label_floor": -200.0}).override(changes)
    assert recipe.gate.floor == floor
    kept = changes.keys() <= {"training.epochs"} or changes == {"dataset": "mnist"}
    assert recipe.gate.label_floor == (-200.0 if kept else None)


def test_a_floor_that_the_changes_name_is_kept():
    changes = {"dataset": "./scans", "gate.label_floor": -150}
    gate = load_recipe("mnist").override(changes).gate
    assert (gate.floor, gate.label_floor) == (None, -150.0)


def test_the_options_of_the_gate_can_be_switched_off():
    changes = dict.fromkeys(
        ("gate.max_kl_weight_factor", "gate.max_frechet_ratio", "gate.min_coverage"), "none"
    )
    gate = load_recipe("mnist").override(changes).gate
    assert (gate.max_kl_weight_factor, gate.max_frechet_ratio, gate.min_coverage) == (None,) * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"foo": 1}, "no field 'foo'; known here: name,"),
        ({"training.foo": 1}, "no field 'training.foo'; known here: training.formulation"),
        ({"foo.bar": 1}, "no field 'foo.bar'"),
        ({"training.epochs": "many"}, "training.epochs must be a whole number, not 'many'"),
        ({"training.epochs": 2.5}, "training.epochs must be a whole number, not 2.5"),
        ({"training.epochs": True}, "training.epochs must be a whole number, not True"),
        ({"training.kl_weight": "heavy"}, "training.kl_weight must be a number, not 'heavy'"),
        ({"training": 3}, "training must be a mapping of fields, not 3"),
        ({"splits": "all"}, "splits must be a mapping, not 'all'"),
        ({"splits": {"train": "train"}}, "no split eval, test; give it one"),
        ({"image_format.binarization": "both"}, "Unknown binarization 'both'"),
        ({"image_format.binarization": "none"}, "needs binary pixels"),
        ({"training.architecture": "resnet"}, "Unknown architecture 'resnet'"),
        ({"gate.min_examples": 0}, "min_examples must be at least 1"),
        ({"gate.comparison": "best"}, "Unknown comparison 'best'; choose one of no_worse, better"),
        ({"gate.min_improvement": 1}, "min_improvement asks for a gain, but the comparison no_wo"),
        ({"gate.max_kl_weight_factor": 1}, "max_kl_weight_factor must be above 1"),
        ({"training.importance_samples": 5}, "no field 'training.importance_samples'"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        load_recipe("mnist").override(changes)


def test_a_missing_field_is_named():
    with pytest.raises(InputError, match=r"lacks the field 'image_format\.height'"):
        Recipe.from_dict(
            {
                **load_recipe("mnist").to_dict(),
                "image_format": {"width": 8, "channels": 1, "binarization": "threshold"},
            }
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "is not YAML"), ("- 1", "is not a recipe"), ("", "is not a recipe")],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path, text, message):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"broken\.yaml {message}"):
        load_recipe(str(path))


def test_an_unknown_recipe_lists_those_that_exist():
    with pytest.raises(InputError, match="no recipe 'nope'; choose one of cifar10, cvae_2d"):
        load_recipe("nope")
