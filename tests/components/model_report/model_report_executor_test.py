import json
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.elbo_evaluator.results import read_gate_result
from components.image_binarizer.binarize import parse_examples
from components.image_binarizer.image_format import ImageFormat
from components.model_report.executor import Executor
from pipelines.recipe import load_recipe
from tests.components.model_report.page_reader import Page


@pytest.fixture(scope="module")
def write_page(ready_digits, trained, tmp_path_factory):
    model, model_run = trained

    def write(judged):
        report = standard_artifacts.ModelEvaluation()
        report.uri = str(tmp_path_factory.mktemp("report"))
        Executor().Do(
            {
                "examples": [ready_digits],
                "model": [model],
                "model_run": [model_run],
                "evaluation": [judged.evaluation],
                "blessing": [judged.blessing],
                "champion": [judged.champion],
            },
            {"report": [report]},
            {"recipe": json.dumps(load_recipe("digits").to_dict()), "code_fingerprint": ""},
        )
        page = Path(report.get_string_custom_property("page"))
        assert page == Path(report.uri) / "index.html"
        return page.read_text(encoding="utf-8")

    return write


@pytest.fixture(scope="module")
def html(write_page, blessed):
    return write_page(blessed)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def _score(values, name, error, sign=""):
    return f"{values[name]:{sign}.2f} ± {values[error]:.2f}"


def test_scores_are_those_of_the_evaluation(page, blessed):
    result = read_gate_result(blessed.evaluation.uri)
    assert result.num_examples == 100
    names = ("elbo", "rate", "distortion", "importance_weighted_bound")
    _, candidate, champion, difference = page.rows["scores"]
    for row, title, values in (
        (candidate, "candidate", result.candidate),
        (champion, "champion (independent pixels)", result.champion),
    ):
        # The champion's bound is not computed.
        known = [name for name in names if name in values]
        cells = [_score(values, name, f"{name}_standard_error") for name in known]
        assert row == [title, *cells, *[""] * (4 - len(cells))]
    assert "importance_weighted_bound" in result.candidate
    paired = _score(result.candidate, "elbo_gain", "elbo_gain_standard_error", "+")
    assert difference == ["difference", paired, "", "", ""]
    assert "over 100 test images" in page.text["scores"]
    assert "bound is of the candidate and 100 of the images" in page.text["scores"]


def test_labels_are_those_of_the_evaluation(page, blessed):
    by_label = read_gate_result(blessed.evaluation.uri).by_label
    assert page.rows["labels"][1:] == [
        [
            str(label),
            f"{compared.candidate['example_count']:.0f}",
            _score(compared.candidate, "elbo", "elbo_standard_error"),
            _score(compared.candidate, "elbo_gain", "elbo_gain_standard_error", "+"),
        ]
        for label, compared in by_label.items()
    ]
    assert sum(int(row[1]) for row in page.rows["labels"][1:]) == 100


@pytest.fixture(scope="module")
def refused_page(write_page, refused):
    return Page(write_page(refused))


@pytest.fixture(scope="module")
def blessed_anyway_page(write_page, blessed_anyway):
    return Page(write_page(blessed_anyway))


def test_verdicts(page, refused_page, refused):
    assert "Blessed : every rule of the gate holds." in page.text[""]
    text = refused_page.text[""]
    result = read_gate_result(refused.evaluation.uri)
    assert {"examples", "floor"} <= {rule.name for rule in result.rules if not rule.passed}
    for sentence in (*result.failures, *result.diagnosis):
        assert sentence in text
    assert "Not blessed" in text
    assert "every rule" not in text


def test_a_model_that_was_blessed_anyway_says_why_and_what_failed(
    blessed_anyway_page, blessed_anyway
):
    text = blessed_anyway_page.text[""]
    assert "Blessed anyway : for the demo on <Monday>" in text
    assert "every rule" not in text
    assert "Not blessed" not in text
    result = read_gate_result(blessed_anyway.evaluation.uri)
    assert result.blessed
    assert any("below its floor of -1.00" in failure for failure in result.failures)
    assert all(failure in text for failure in result.failures)


@pytest.mark.parametrize("name", ["blessed", "refused", "blessed_anyway"])
def test_every_rule_is_shown_with_its_numbers_and_verdict(request, name):
    judged = request.getfixturevalue(name)
    page = request.getfixturevalue("page" if name == "blessed" else f"{name}_page")
    result = read_gate_result(judged.evaluation.uri)
    heading, *rows = page.rows["gate"]
    assert heading == ["rule", "asked", "candidate", "champion", "difference", "verdict"]
    assert [row[0] for row in rows] == [rule.name for rule in result.rules]
    verdicts = {row[0]: row[-1] for row in rows}
    failed = {rule.name for rule in result.rules if not rule.passed}
    assert {rule for rule, verdict in verdicts.items() if verdict == "fails"} == failed
    assert bool(failed) == (name != "blessed")
    assert set(verdicts.values()) <= {"holds", "fails", "not asked"}
    cells = {row[0]: row[1:-1] for row in rows}
    ours, theirs = result.candidate, result.champion
    assert cells["champion"] == [
        "> +0.00",
        f"{ours['elbo']:.2f}",
        f"{theirs['elbo']:.2f}",
        _score(ours, "elbo_gain", "elbo_gain_standard_error", "+"),
    ]
    assert cells["floor"][1] == _score(ours, "elbo", "elbo_standard_error")
    assert cells["examples"][:2] == ["≥ 101" if name == "refused" else "≥ 100", "100"]
    for rule in result.rules:
        assert f"{rule.name}: {rule.asks}" in page.text["gate"]
    assert "Champion: independent pixels." in page.text["gate"]


def test_training_is_that_of_the_model_run(page, trained):
    lines = (Path(trained[1].uri) / "history.csv").read_text().splitlines()
    first = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    names = ("elbo", "val_elbo", "rate", "val_rate", "distortion", "val_distortion")
    rows = page.rows["training"]
    assert rows[1] == ["1", *(f"{float(first[name]):.2f}" for name in names)]
    assert len(rows) == 1 + 4
    assert len(page.images["training"]) == 3


def test_test_images_are_the_right_way_up(page, ready_digits):
    image_format = ImageFormat.read(ready_digits.uri)
    path = next(Path(ready_digits.uri).glob("Split-test/*"))
    records = list(tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator())
    first, last = (parse_examples([records[i]], image_format)[0, ..., 0] for i in (0, -1))
    block = page.pixels("reconstructions")
    assert block.shape == (3 * 29 - 1, 8 * 29 - 1)
    assert (block[:28, :28] == 255 * first.numpy()).all()
    assert set(block[-28:, :28].ravel()) <= {0, 255}
    assert (page.pixels("reconstructions", 1)[:28, -28:] == 255 * last.numpy()).all()


def test_pictures_have_the_expected_sizes(page):
    for index in (0, 1):
        assert page.pixels("prior", index).shape == (8 * 29 - 1, 8 * 29 - 1)
    assert page.pixels("interpolations").shape == (5 * 29 - 1, 14 * 29 - 1)
    assert all(image["alt"] for images in page.images.values() for image in images)


def test_prior_means_are_those_of_the_model(page, trained):
    generate = tf.saved_model.load(f"{trained[0].uri}/Format-Serving").signatures["generate"]
    means = generate(number=tf.constant(10, tf.int64), seed=tf.constant(0, tf.int64))["mean"]
    tenth = page.pixels("prior")[29 : 29 + 28, 29 : 29 + 28]
    assert abs(tenth / 255.0 - means[9, ..., 0].numpy()).max() <= 0.5 / 255 + 1e-6


def test_rates_sum_to_the_rate_of_the_evaluation(page, blessed):
    rate = read_gate_result(blessed.evaluation.uri).candidate["rate"]
    assert (
        f"of 4 latent dimensions are active; the rates sum to {rate:.2f} nats per image"
        in (page.text["usage"])
    )


def test_the_recipe_is_shown_in_full(page):
    assert " ".join(load_recipe("digits").to_yaml().split()) in page.text["recipe"]


def test_the_page_refers_to_nothing_outside(html, page):
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert not {tag for tag, _, _ in page.attributes} & {"script", "link", "iframe", "a"}
    references = [v for _, name, v in page.attributes if name in ("src", "srcset", "href")]
    assert references
    assert all(value.startswith("data:image/png;base64,") for value in references)


def test_the_same_inputs_give_the_same_bytes(html, write_page, blessed):
    assert write_page(blessed) == html
