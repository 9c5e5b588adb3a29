"""Reads Kubernetes manifests as kustomize would build them, and checks them against the API."""

import copy
from pathlib import Path

import yaml
from kubernetes import client

_KEYS = {
    "apiVersion",
    "kind",
    "namespace",
    "resources",
    "components",
    "patches",
    "configMapGenerator",
}
_MODELS = {
    ("v1", "Namespace"): "V1Namespace",
    ("v1", "ConfigMap"): "V1ConfigMap",
    ("v1", "Service"): "V1Service",
    ("v1", "PersistentVolumeClaim"): "V1PersistentVolumeClaim",
    ("apps/v1", "Deployment"): "V1Deployment",
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "V2HorizontalPodAutoscaler",
    ("policy/v1", "PodDisruptionBudget"): "V1PodDisruptionBudget",
    ("networking.k8s.io/v1", "NetworkPolicy"): "V1NetworkPolicy",
}


def build(folder: Path) -> list[dict]:
    """The objects of a kustomization; knows what this project's kustomizations use."""
    path = folder / "kustomization.yaml"
    settings = yaml.safe_load(path.read_text())
    assert set(settings) <= _KEYS, f"{path}: {set(settings) - _KEYS}"
    objects = []
    for name in [*settings.get("resources", []), *settings.get("components", [])]:
        entry = folder / name
        assert entry.exists(), f"{path} names {name}"
        is_component = name in settings.get("components", [])
        objects += build_as(entry, is_component) if entry.is_dir() else read_objects(entry)
    for generator in settings.get("configMapGenerator", []):
        data = {name: (folder / name).read_text() for name in generator["files"]}
        metadata = {"name": generator["name"]}
        objects.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        )
    for patch in settings.get("patches", []):
        target = patch["target"]
        (found,) = (
            item
            for item in objects
            if (item["kind"], item["metadata"]["name"]) == (target["kind"], target["name"])
        )
        for operation in yaml.safe_load(patch["patch"]):
            _apply(found, operation)
    for item in objects:
        if "namespace" in settings and item["kind"] != "Namespace":
            item["metadata"]["namespace"] = settings["namespace"]
    return objects


def build_as(folder: Path, is_component: bool) -> list[dict]:
    """As `build`, of a folder that must be a Component or must not be."""
    kind = yaml.safe_load((folder / "kustomization.yaml").read_text())["kind"]
    assert kind == ("Component" if is_component else "Kustomization"), folder
    return build(folder)


def read_objects(path: Path) -> list[dict]:
    """The YAML documents of a file."""
    return list(yaml.safe_load_all(path.read_text()))


def _apply(item: dict, operation: dict) -> None:
    *parents, last = operation["path"].strip("/").split("/")
    for name in parents:
        item = item[int(name)] if isinstance(item, list) else item[name]
    value = copy.deepcopy(operation["value"])
    if operation["op"] == "add" and last == "-":
        item.append(value)
        return
    assert operation["op"] == "replace", operation
    key = int(last) if isinstance(item, list) else last
    # As kustomize, which refuses to replace what is not there.
    assert item[key] is not None
    item[key] = value


def check_object(item: dict) -> None:
    """Asserts that an object has the fields of its kind, no others, and those that it needs."""
    model = _MODELS[item["apiVersion"], item["kind"]]
    _check(item, model, item["kind"])


def _check(value, kind: str, where: str) -> object:
    if kind.startswith("list["):
        assert isinstance(value, list), where
        return [_check(entry, kind[5:-1], f"{where}[{i}]") for i, entry in enumerate(value)]
    if kind.startswith("dict("):
        assert isinstance(value, dict), where
        inner = kind[5:-1].split(", ")[1]
        return {key: _check(entry, inner, f"{where}.{key}") for key, entry in value.items()}
    if kind in ("str", "int", "bool", "float"):
        assert type(value).__name__ == kind, f"{where}: {value!r} is not of type {kind}"
        return value
    if kind in ("object", "datetime"):
        return value
    model = getattr(client, kind)
    names = {api_name: name for name, api_name in model.attribute_map.items()}
    assert isinstance(value, dict), where
    assert set(value) <= set(names), f"{where} has no field {set(value) - set(names)}"
    fields = {
        names[key]: _check(entry, model.openapi_types[names[key]], f"{where}.{key}")
        for key, entry in value.items()
    }
    # Raises ValueError if a field is missing that the kind needs.
    return model(**fields)
