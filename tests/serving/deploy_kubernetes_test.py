"""The manifests: fields of each kind, and that what refers to something finds it."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.manifests import build, check_object, read_objects

_DEPLOY = Path(__file__).parents[2] / "serving" / "deploy"
_KUBERNETES = _DEPLOY / "kubernetes"
_CUSTOM = ("ServiceMonitor", "PrometheusRule")


@pytest.fixture(params=["base", "overlays/dev", "overlays/prod"])
def objects(request):
    return build(_KUBERNETES / request.param)


@pytest.fixture
def prod():
    return build(_KUBERNETES / "overlays" / "prod")


def _named(objects, kind, name="decoder"):
    (found,) = (
        item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name)
    )
    return found


def _pod(objects):
    return _named(objects, "Deployment")["spec"]["template"]


def _container(objects):
    (container,) = _pod(objects)["spec"]["containers"]
    return container


def _ports(objects):
    return {port["name"]: port["containerPort"] for port in _container(objects)["ports"]}


def test_every_object_has_the_fields_of_its_kind(objects):
    for item in objects:
        if item["kind"] not in _CUSTOM:
            check_object(item)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("spec", "replica"), 2, "has no field"),
        (("spec", "template", "spec", "containers"), None, "containers"),
        (("spec", "minReadySeconds"), "10", "is not of type int"),
    ],
)
def test_a_wrong_field_would_be_found(path, value, message):
    deployment = _named(build(_KUBERNETES / "base"), "Deployment")
    inner = deployment
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises((AssertionError, ValueError), match=message):
        check_object(deployment)


def test_no_two_objects_share_a_name(objects):
    names = [(item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(names) == len(set(names))


def test_an_overlay_puts_all_into_its_namespace():
    for overlay, namespace in (("dev", "tfx-vae-dev"), ("prod", "tfx-vae")):
        built = build(_KUBERNETES / "overlays" / overlay)
        found = _named(built, "Namespace", namespace)
        assert found["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        others = [item for item in built if item is not found]
        assert {item["metadata"]["namespace"] for item in others} == {namespace}


def test_every_selector_finds_the_pods(objects):
    labels = _pod(objects)["metadata"]["labels"]
    selectors = [
        _named(objects, "Deployment")["spec"]["selector"]["matchLabels"],
        _named(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        _named(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(item["spec"]["selector"] for item in objects if item["kind"] == "Service"),
        *(
            spread["labelSelector"]["matchLabels"]
            for spread in _pod(objects)["spec"]["topologySpreadConstraints"]
        ),
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()


def test_the_autoscaler_scales_the_deployment_alone(objects):
    scaler = _named(objects, "HorizontalPodAutoscaler")["spec"]
    deployment = _named(objects, "Deployment")
    assert scaler["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }
    assert 1 <= scaler["minReplicas"] < scaler["maxReplicas"]
    assert "replicas" not in deployment["spec"]
    # Utilisation is a share of the request.
    assert _container(objects)["resources"]["requests"]["cpu"]


def test_every_port_that_is_named_is_declared(objects):
    ports = _ports(objects)
    assert ports == {"grpc": 8500, "http": 8501}
    container = _container(objects)
    assert {"--port=8500", "--rest_api_port=8501"} <= set(container["args"])
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    # A gRPC probe takes no name.
    assert container["livenessProbe"]["grpc"]["port"] == ports["grpc"]
    assert "--enable_grpc_healthcheck_service=true" in container["args"]
    for service in (item for item in objects if item["kind"] == "Service"):
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]
    for rule in _named(objects, "NetworkPolicy")["spec"]["ingress"]:
        assert {port["port"] for port in rule["ports"]} <= set(ports)


def test_readiness_asks_for_a_version_that_serves(objects):
    container = _container(objects)
    (config,) = (item for item in objects if item["kind"] == "ConfigMap")
    assert 'name: "decoder"' in config["data"]["models.config"]
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] == "/v1/models/decoder/metadata"


def test_starting_may_take_as_long_as_all_retries(objects):
    container = _container(objects)
    flags = dict(arg[2:].split("=", 1) for arg in container["args"])
    retries = int(flags["max_num_load_retries"]) * int(flags["load_retry_interval_micros"]) / 1e6
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > retries


def test_a_pod_drains_before_it_is_killed(objects):
    (command, seconds) = _container(objects)["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    # A client waits 10 seconds for an answer.
    assert _pod(objects)["spec"]["terminationGracePeriodSeconds"] > int(seconds) > 10


def test_every_mount_has_its_volume_and_every_volume_its_source(objects):
    volumes = {volume["name"]: volume for volume in _pod(objects)["spec"]["volumes"]}
    mounts = {mount["name"]: mount for mount in _container(objects)["volumeMounts"]}
    assert set(mounts) == set(volumes)
    _named(
        objects, "PersistentVolumeClaim", volumes["models"]["persistentVolumeClaim"]["claimName"]
    )
    config = _named(objects, "ConfigMap", volumes["config"]["configMap"]["name"])
    for name, text in config["data"].items():
        if name == "models.config":
            assert f'base_path: "{mounts["models"]["mountPath"]}/decoder"' in text
        path = f"{mounts['config']['mountPath']}/{name}"
        assert any(arg.endswith(f"={path}") for arg in _container(objects)["args"]), name
    assert mounts["models"]["readOnly"]
    assert mounts["config"]["readOnly"]


def test_the_pod_is_restricted(objects):
    pod, container = _pod(objects)["spec"], _container(objects)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert (
        container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]
    )


def test_as_many_threads_as_cpus(objects):
    container = _container(objects)
    cpus = container["resources"]["limits"]["cpu"]
    for kind in ("intra", "inter"):
        assert f"--tensorflow_{kind}_op_parallelism={cpus}" in container["args"]


def test_grpc_clients_see_every_pod(objects):
    assert _named(objects, "Service")["spec"]["clusterIP"] == "None"
    assert "clusterIP" not in _named(objects, "Service", "decoder-rest")["spec"]


def test_prometheus_scrapes_each_pod_once(prod):
    monitor = _named(prod, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    (service,) = (
        item
        for item in prod
        if item["kind"] == "Service" and wanted.items() <= item["metadata"]["labels"].items()
    )
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    (config,) = (item for item in prod if item["kind"] == "ConfigMap")
    assert f'path: "{endpoint["path"]}"' in config["data"]["monitoring.config"]


def test_dev_needs_no_kinds_of_others():
    kinds = {item["kind"] for item in build(_KUBERNETES / "overlays" / "dev")}
    assert kinds.isdisjoint(_CUSTOM)


def test_every_file_belongs_to_a_kustomization():
    known = {
        path.parent / name
        for path in _KUBERNETES.rglob("kustomization.yaml")
        for name in [*yaml.safe_load(path.read_text()).get("resources", []), path.name]
    }
    assert {path for path in _KUBERNETES.rglob("*") if path.is_file()} <= known


def test_kserve_serves_the_same_decoder():
    (service,) = read_objects(_DEPLOY / "kserve" / "inference-service.yaml")
    base = build(_KUBERNETES / "base")
    assert (service["apiVersion"], service["kind"]) == (
        "serving.kserve.io/v1beta1",
        "InferenceService",
    )
    model = service["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": "tensorflow"}
    assert _container(base)["image"] == f"tensorflow/serving:{model['runtimeVersion']}"
    claim = _named(base, "PersistentVolumeClaim", "decoder-models")["metadata"]["name"]
    assert model["storageUri"] == f"pvc://{claim}/decoder"
    assert model["ports"] == [{"name": "h2c", "containerPort": 9000, "protocol": "TCP"}]
    assert model["resources"] == _container(base)["resources"]


@pytest.mark.skipif(not shutil.which("kustomize"), reason="kustomize is not installed")
@pytest.mark.parametrize("name", ["base", "overlays/dev", "overlays/prod"])
def test_kustomize_builds_the_same(name):
    folder = _KUBERNETES / name
    result = subprocess.run(["kustomize", "build", folder], capture_output=True, check=True)
    built = {(item["kind"], item["metadata"]["name"]) for item in yaml.safe_load_all(result.stdout)}
    # kustomize adds a hash to the name of the ConfigMap.
    ours = {(item["kind"], item["metadata"]["name"]) for item in build(folder)}
    assert {key for key in built if key[0] != "ConfigMap"} == {
        key for key in ours if key[0] != "ConfigMap"
    }
