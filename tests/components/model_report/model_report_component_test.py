import json

from tfx.types import channel_utils, standard_artifacts

from components.model_report import ModelReport, component
from pipelines.recipe import load_recipe


def _component(recipe):
    def channel(kind):
        return channel_utils.as_channel([kind()])

    return ModelReport(
        examples=channel(standard_artifacts.Examples),
        model=channel(standard_artifacts.Model),
        model_run=channel(standard_artifacts.ModelRun),
        evaluation=channel(standard_artifacts.ModelEvaluation),
        blessing=channel(standard_artifacts.ModelBlessing),
        champion=channel(standard_artifacts.Model),
        recipe=recipe,
    )


def test_construction():
    recipe = load_recipe("digits").to_dict()
    report = _component(recipe)
    assert report.outputs["report"].type_name == standard_artifacts.ModelEvaluation.TYPE_NAME
    assert json.loads(report.exec_properties["recipe"]) == recipe


def test_an_edited_template_is_no_cache_hit(tmp_path, monkeypatch):
    before = _component({}).exec_properties["code_fingerprint"]
    assert _component({}).exec_properties["code_fingerprint"] == before
    edited = tmp_path / "page.html"
    edited.write_text("edited")
    monkeypatch.setattr(component, "TEMPLATE", edited)
    assert _component({}).exec_properties["code_fingerprint"] != before
