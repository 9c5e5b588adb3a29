"""The alerts: that Prometheus reads them, and what sets each off."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

_FILE = Path(__file__).parents[2] / "serving/deploy/kubernetes/monitoring/alerts.yaml"
_NAMES = {
    "DecoderErrors",
    "DecoderSlow",
    "DecoderVersionNotAvailable",
    "DecoderDown",
    "DecoderRestarts",
}
_COUNT = ':tensorflow:serving:request_count{namespace="n",model_name="decoder",status="%s"}'
_BUCKET = (
    ':tensorflow:serving:request_latency_bucket{namespace="n",model_name="decoder",'
    'API="%s",le="%s"}'
)
_VERSION = 'namespace="n",pod="p",model_path="/models/decoder/2"'
_LOADS = f':tensorflow:cc:saved_model:load_attempt_count{{{_VERSION},status="%s"}}'
_WARM_UPS = f':tensorflow:serving:model_warmup_latency_count{{{_VERSION},status="%s"}}'
_REPLICAS = 'kube_deployment_status_replicas_available{namespace="n",deployment="decoder"}'
_RESTARTS = (
    'kube_pod_container_status_restarts_total{namespace="n",pod="p",container="tensorflow-serving"}'
)

# Series by alert (or none): values a minute apart, in Prometheus's notation.
_CASES = [
    ("DecoderErrors", {_COUNT % "OK": "0+90x20", _COUNT % "INTERNAL": "0+10x20"}),
    (None, {_COUNT % "OK": "0+99x20", _COUNT % "INTERNAL": "0+1x20"}),
    (None, {_COUNT % "OK": "0+50x20", _COUNT % "INVALID_ARGUMENT": "0+50x20"}),
    (
        "DecoderSlow",
        {
            _BUCKET % ("Predict", "100000"): "0+90x30",
            _BUCKET % ("Predict", "400000"): "0+100x30",
            _BUCKET % ("Predict", "+Inf"): "0+100x30",
        },
    ),
    (
        None,
        {_BUCKET % ("Predict", "100000"): "0+100x30", _BUCKET % ("Predict", "+Inf"): "0+100x30"},
    ),
    # Probes: fast or slow, they are not predictions.
    (None, {_BUCKET % ("", "400000"): "0+100x30", _BUCKET % ("", "+Inf"): "0+100x30"}),
    ("DecoderVersionNotAvailable", {_LOADS % "fail": "_ 1+1x30"}),
    # On an object store the first attempts may come too early.
    (None, {_LOADS % "fail": "_ 1 2 2x30", _LOADS % "success": "_ _ 1x30"}),
    (
        "DecoderVersionNotAvailable",
        {_LOADS % "success": "_ 1+1x30", _WARM_UPS % "INTERNAL: x": "_ 1+1x30"},
    ),
    (None, {_LOADS % "success": "_ 1x30", _WARM_UPS % "OK": "_ 1x30"}),
    ("DecoderDown", {_REPLICAS: "2 2 0x20"}),
    (None, {_REPLICAS: "2 2 1x20"}),
    ("DecoderRestarts", {_RESTARTS: "0 1 2 3 4 4x20"}),
    (None, {_RESTARTS: "0 1 1x20"}),
]


@pytest.fixture(scope="module")
def rules():
    resource = yaml.safe_load(_FILE.read_text())
    assert (resource["apiVersion"], resource["kind"]) == (
        "monitoring.coreos.com/v1",
        "PrometheusRule",
    )
    return resource["spec"]["groups"]


def test_each_alert_says_what_is_wrong_and_what_to_do(rules):
    (group,) = rules
    assert {rule["alert"] for rule in group["rules"]} == _NAMES
    for rule in group["rules"]:
        assert rule["expr"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "remedy"}


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
@pytest.mark.parametrize(("alert", "series"), _CASES)
def test_what_sets_an_alert_off(rules, tmp_path, alert, series):
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": rules}))
    values = [{"series": name, "values": text} for name, text in series.items()]
    query = 'count by (alertname) (ALERTS{alertstate="firing"})'
    fired = [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert else []
    check = {"expr": query, "eval_time": "20m", "exp_samples": fired}
    case = {"interval": "1m", "input_series": values, "promql_expr_test": [check]}
    (tmp_path / "test.yml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [case]})
    )
    command = ["promtool", "test", "rules", tmp_path / "test.yml"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
