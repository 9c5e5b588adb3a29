"""The page of models and trainings that an ordinary run does not have."""

import math
import types

import numpy as np
import pytest
import tensorflow as tf

from components.elbo_evaluator.measurements import Comparison
from components.elbo_evaluator.results import GateResult
from components.elbo_evaluator.rules import Rule
from components.errors import InputError
from components.image_binarizer.binarize import pack
from components.image_binarizer.image_format import ImageFormat
from components.model_report.history import read_history
from components.model_report.report import build_report
from tests.components.model_report.page_reader import Page

_SHAPE = (5, 4)
_RECIPE = {"name": "small", "dataset": "corners", "training": {"likelihood": "bernoulli"}}
_HISTORY = "epoch,elbo,val_elbo\n0,-3.0,-4.0\n"


def _scores(elbo=-100.0):
    return {
        f"{name}{suffix}": elbo
        for name in ("elbo", "rate", "distortion", "importance_weighted_bound")
        for suffix in ("", "_standard_error")
    }


def _gate(candidate=None, champion=None, gain=(100.0, 1.5), failures=(), **changes):
    ours = {
        "example_count": 1_234.0,
        **(_scores() if candidate is None else candidate),
        "elbo_gain": gain[0],
        "elbo_gain_standard_error": gain[1],
    }
    fields = {
        "blessed": not failures,
        "bless_anyway": "",
        "rules": tuple(Rule("floor", "it is high enough", False, text) for text in failures),
        "diagnosis": (),
        "champion_name": "registered champion, version 3",
        "overall": Comparison(ours, _scores(-200.0) if champion is None else champion),
        "by_label": {},
        "samples": {},
    }
    return GateResult(**{**fields, **changes})


def _examples(channels=1):
    """Images that are white in the top left corner alone, where rows outnumber columns."""
    pixels = np.zeros((20, *_SHAPE, channels), np.uint8)
    pixels[:, 0, 0] = 1
    return [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[record])),
                }
            )
        ).SerializeToString()
        for record in pack(pixels, _image_format(channels))
    ]


def _image_format(channels=1):
    return ImageFormat(*_SHAPE, channels, "threshold")


def _model(latent_size, channels=1, fill=None):
    """Signatures alone: the top left pixel is a code's first dimension, the next its second."""

    def images_of(z):
        mean = np.zeros((len(z), *_SHAPE, channels), np.float32)
        mean[:, 0, 0] = tf.sigmoid(z[:, :1])
        if latent_size > 1:
            mean[:, 0, 1] = tf.sigmoid(z[:, 1:2])
        mean = tf.constant(mean if fill is None else np.full_like(mean, fill))
        return {"mean": mean, "mode": tf.round(mean), "sample": tf.round(mean)}

    def posterior(number):
        grid = np.linspace(-1.0, 1.0, number * latent_size).reshape(number, latent_size)
        mean = tf.constant(grid if fill is None else np.full_like(grid, fill), tf.float32)
        return mean, tf.ones_like(mean)

    def evaluate(examples):
        mean, variance = posterior(len(examples))
        return {"posterior_mean": mean, "posterior_variance": variance}

    def encode(images):
        mean, variance = posterior(len(images))
        return {"mean": mean, "variance": variance}

    def generate(number, seed):
        z = tf.random.stateless_normal([int(number), latent_size], [int(seed), 0])
        return {**images_of(z), "z": z}

    return types.SimpleNamespace(
        signatures={
            "evaluate": evaluate,
            "encode": encode,
            "decode": images_of,
            "reconstruct": lambda images: images_of(posterior(len(images))[0]),
            "generate": generate,
        }
    )


def _page(**changes):
    channels = changes.pop("channels", 1)
    arguments = {
        "recipe": _RECIPE,
        "image_format": _image_format(channels),
        "gate": _gate(),
        "blessed": True,
        "champion": "registered champion, version 3",
        "history": read_history(_HISTORY),
        "model": _model(3, channels),
        "test_examples": _examples(channels),
    }
    return build_report(**{**arguments, **changes})


def test_recipe_text_is_escaped():
    nasty = '</code></pre><script>alert("x")</script><img src="http://example.com/x.png">'
    html = _page(
        recipe={**_RECIPE, "name": nasty, "dataset": nasty, "description": nasty},
        champion=nasty,
        blessed=False,
        gate=_gate(
            rules=(Rule(nasty, "something", False, nasty, asked=nasty),),
            diagnosis=(nasty,),
            champion_name=nasty,
            bless_anyway=nasty,
        ),
    )
    page = Page(html)
    tags = {tag for tag, _, _ in page.attributes}
    assert "script" not in tags
    assert all("http:" not in (value or "") for _, _, value in page.attributes)
    # Title, name, data set and, of the verdict, the reason to bless, a failure and the diagnosis.
    assert page.text[""].count('<script>alert("x")</script>') == 6
    assert page.text["gate"].count('<script>alert("x")</script>') == 4
    assert "<script>" in page.text["recipe"]


def test_a_plane_is_shown_as_a_grid():
    page = Page(_page(model=_model(2)))
    grid = page.pixels("manifold")
    assert grid.shape == (20 * 6 - 1, 20 * 5 - 1)
    assert "interpolations" not in page.images
    # The first dimension, seen in the first pixel, grows to the right; the second downwards.
    assert (np.diff(grid[0, 0::5].astype(int)) > 0).all()
    assert (np.diff(grid[0::6, 1].astype(int)) > 0).all()
    assert len(set(grid[0::6, 0])) == 1


@pytest.mark.parametrize("latent_size", [1, 3])
def test_other_latent_spaces_are_shown_as_interpolations(latent_size):
    page = Page(_page(model=_model(latent_size)))
    assert page.pixels("interpolations").shape == (5 * 6 - 1, 14 * 5 - 1)
    assert "manifold" not in page.images


def test_colour_images():
    block = Page(_page(channels=3)).pixels("reconstructions")
    assert block.shape == (3 * 6 - 1, 8 * 5 - 1, 3)
    assert (block[0, 0] == 255).all()
    assert (block[1:5, 0:4] == 0).all()


def test_a_model_of_nan_is_shown_as_such():
    broken = _scores(math.nan)
    html = _page(
        model=_model(3, fill=math.nan),
        gate=_gate(
            candidate=broken,
            gain=(math.nan, math.inf),
            by_label={0: Comparison({**broken, "example_count": 1.0})},
        ),
        blessed=False,
        history=read_history("epoch,elbo,val_elbo\n0,nan,nan\n1,inf,-inf\n"),
    )
    page = Page(html)
    assert page.rows["scores"][1][1:] == ["NaN ± NaN"] * 4
    assert page.rows["scores"][3][1] == "NaN ± ∞"
    assert page.rows["labels"][1] == ["0", "1", "NaN ± NaN", "missing ± missing"]
    assert page.rows["training"][2][1:4] == ["∞", "-∞", "NaN"]
    assert "No epoch has a finite validation ELBO" in page.text["training"]
    assert "0 of 3 latent dimensions are active; the rates sum to NaN" in page.text["usage"]
    assert "0: NaN" in page.images["usage"][0]["alt"]
    red = (214, 39, 90)
    assert (page.pixels("prior")[0, 0] == red).all()
    assert "red pixels are not finite" in page.text["prior"]
    block = page.pixels("reconstructions")
    assert (block[0, 0] == 255).all()
    assert (block[6, 0] == red).all()


def test_an_autoencoders_best_epoch_is_that_of_its_distortion():
    rows = ["epoch,elbo,val_elbo,rate,val_rate,distortion,val_distortion"]
    rows += [f"{i},-inf,-inf,inf,inf,9.0,{d}" for i, d in enumerate([8.0, 6.5, 7.0, 6.5])]
    history = read_history("\n".join(rows))
    assert (history.best_by, history.best_epoch) == ("distortion", 2)
    scores = _scores() | {"elbo": math.nan, "rate": math.inf, "rate_standard_error": math.nan}
    gate = _gate(candidate=scores, gain=(math.nan, math.nan), failures=("there is no ELBO",))
    page = Page(_page(history=history, gate=gate, blessed=False))
    assert (
        "No epoch has a finite validation ELBO. The dotted line is epoch 2, the best by validation "
        "distortion."
    ) in page.text["training"]
    assert page.rows["training"][2] == ["2", "-∞", "-∞", "∞", "∞", "9.00", "6.50"]
    assert page.rows["scores"][1][2] == "∞ ± NaN"
    elbo, rate, distortion = (image["alt"] for image in page.images["training"])
    assert "validation ends at -∞" in elbo
    assert "validation ends at ∞" in rate
    assert "validation ends at 6.50" in distortion


def test_the_best_epoch_is_by_elbo_where_there_is_one():
    csv = "epoch,elbo,val_elbo,val_distortion\n0,-9,-9,1\n1,-8,-inf,2\n2,-8,-7,3\n3,-8,-7,4\n"
    history = read_history(csv)
    assert (history.best_by, history.best_epoch) == ("elbo", 3)


def test_bits_per_dimension_are_shown_for_levels_alone():
    # 20 values of one and of two bits.
    gate = _gate(candidate=_scores(-20 * math.log(2)), champion=_scores(-40 * math.log(2)))
    recipe = {**_RECIPE, "training": {"likelihood": "discretized_logistic"}}
    page = Page(_page(recipe=recipe, gate=gate))
    assert [row[5] for row in page.rows["scores"]] == ["bits per dimension", "1.00", "2.00", ""]
    assert "over log 2 and the 20 values of an image" in page.text["scores"]
    for likelihood in ("bernoulli", "continuous_bernoulli"):
        recipe = {**_RECIPE, "training": {"likelihood": likelihood}}
        page = Page(_page(recipe=recipe, gate=gate))
        assert {len(row) for row in page.rows["scores"]} == {5}
        assert "Bits" not in page.text["scores"]


def test_the_difference_has_the_paired_standard_error():
    assert Page(_page()).rows["scores"][3][1] == "+100.00 ± 1.50"


RULES = (
    Rule("signatures", "they agree", True),
    Rule("kl weight", "it is as it says", True, "not asked: its loss was not that of a KL weight"),
    Rule(
        "floor", "it is high", False, "elbo is too low", "≥ -50.00", -50.0, -100.0, None, None, 2.0
    ),
    Rule("champion", "it gains", True, "", "> +0.00", 0.0, -100.0, -200.0, 100.0, 1.5),
    Rule("sample classes", "samples show all", False, "its samples hardly show class 3", "≤ 0"),
)


def test_rules_are_shown_with_verdicts_and_what_they_ask():
    page = Page(_page(gate=_gate(rules=RULES), blessed=False))
    assert page.rows["gate"][1:] == [
        ["signatures", "", "", "", "", "holds"],
        ["kl weight", "", "", "", "", "not asked"],
        ["floor", "≥ -50.00", "-100.00 ± 2.00", "", "", "fails"],
        ["champion", "> +0.00", "-100.00", "-200.00", "+100.00 ± 1.50", "holds"],
        ["sample classes", "≤ 0", "", "", "", "fails"],
    ]
    assert "Champion: registered champion, version 3." in page.text["gate"]
    assert (
        "signatures: they agree; kl weight: it is as it says; floor: it is high; "
        in (page.text["gate"])
    )
    assert page.text["gate"].endswith("sample classes: samples show all.")
    assert "Not blessed elbo is too low its samples hardly show class 3" in page.text[""]
    assert "not asked" not in page.text[""]


def test_a_diagnosis_follows_the_reasons():
    gate = _gate(rules=RULES, diagnosis=("Averaged loss: it is averaged.", "Over-regularised."))
    text = Page(_page(gate=gate, blessed=False)).text[""]
    assert text.endswith("hardly show class 3 Averaged loss: it is averaged. Over-regularised.")


def test_blessed_anyway_is_no_plain_blessing():
    gate = _gate(rules=RULES, bless_anyway="for the demo", blessed=True)
    page = Page(_page(gate=gate, blessed=True))
    assert "Blessed anyway : for the demo elbo is too low its samples hardly" in page.text[""]
    assert "every rule" not in page.text[""]
    assert ("section", "class", "verdict blessed") in page.attributes


def test_a_model_that_was_not_scored_still_has_a_page():
    rules = (Rule("signatures", "they agree", False, "the model has no signature decode"),)
    gate = _gate(overall=Comparison(), rules=rules)
    page = Page(_page(gate=gate, blessed=False))
    assert page.rows["gate"][1] == ["signatures", "", "", "", "", "fails"]
    assert "Not blessed the model has no signature decode" in page.text[""]


def test_missing_metrics_are_named():
    # As where the champion could not be compared, or the candidate not be scored.
    page = Page(_page(gate=_gate(overall=Comparison()), blessed=False))
    for row in (1, 2):
        assert page.rows["scores"][row][1:] == [""] * 4
    assert page.rows["scores"][3][1] == "missing ± missing"
    assert "over 0 test images" in page.text["scores"]
    assert "importance-weighted bound is of" not in page.text["scores"]


def test_missing_epochs_are_named():
    csv = "epoch,elbo,val_elbo\n0,-3.0,-4.0\n2,-1.0,oops\n2,-1.5\n"
    page = Page(_page(history=read_history(csv)))
    rows = page.rows["training"][1:]
    assert rows[0][:4] == ["1", "-3.00", "-4.00", "NaN"]
    assert rows[1] == ["2", *["missing"] * 6]
    assert rows[2][:3] == ["3", "-1.50", "NaN"]
    assert "The dotted line is epoch 1" in page.text["training"]
    assert "1 of 3 epochs are missing in history.csv" in page.text["training"]


@pytest.mark.parametrize("csv", ["", "epoch,elbo\n", "\0garbage"])
def test_no_history(csv):
    page = Page(_page(history=read_history(csv)))
    assert "no epoch in its history.csv" in page.text["training"]


def test_images_without_labels_have_no_label_table():
    assert "labels" not in Page(_page(gate=_gate(by_label={-1: Comparison(_scores())}))).rows


@pytest.mark.parametrize("number", [0, 1])
def test_few_test_images(number):
    page = Page(_page(test_examples=_examples()[:number]))
    assert ("There are no test images." in page.text["reconstructions"]) == (number == 0)
    assert "interpolations" not in page.images


def test_a_model_without_a_signature_is_refused():
    model = _model(3)
    del model.signatures["encode"]
    with pytest.raises(InputError, match="no signature encode"):
        _page(model=model)
