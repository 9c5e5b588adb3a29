"""HandleReloadConfigRequest and changes of the configuration file: as a whole or not at all."""

import shutil
import threading
import time

import grpc
import pytest
from tensorflow_serving.apis import model_management_pb2, predict_pb2

from serving.status import StatusError
from tests.serving.wire_client import BRIGHT, DARK, fails, labels, model, policy


@pytest.fixture
def loads(monkeypatch):
    """The versions that are loaded from now on, in order."""
    import serving.model_manager as module

    seen = []
    original = module.Servable

    def counting(path, version):
        seen.append((path.parent.name, version))
        return original(path, version)

    monkeypatch.setattr(module, "Servable", counting)
    return seen


def corrupt(decoder, version_directory):
    shutil.copytree(decoder, version_directory)
    (version_directory / "saved_model.pb").write_bytes(b"\xff")


def test_models_come_and_go(bases, serve, loads):
    _, client = serve(model("a", bases / "a"))
    response = client.reload(model("a", bases / "a"), model("b", bases / "b"))
    assert response.HasField("status")
    assert response.status.error_code == 0
    # The answer comes when the new model serves; the one that stays is not loaded again.
    assert client.predict('name: "b"') == (1, BRIGHT)
    assert loads == [("a", 4), ("b", 1)]
    client.reload(model("b", bases / "b"))
    assert fails(client.predict, 'name: "a"') == (
        "NOT_FOUND",
        "Servable not found for request: Latest(a)",
    )
    assert client.status('name: "a"') == {4: "END"}
    assert client.predict('name: "b"') == (1, BRIGHT)
    client.reload()
    assert fails(client.predict, 'name: "b"')[0] == "NOT_FOUND"
    client.reload(model("a", bases / "a"))
    assert client.predict('name: "a"') == (4, BRIGHT)


def test_another_policy(bases, serve):
    _, client = serve(model("a", bases / "a"))
    client.reload(model("a", bases / "a", policy("specific { versions: 1 versions: 4 }")))
    assert client.predict('name: "a" version { value: 1 }') == (1, DARK)
    client.reload(model("a", bases / "a", policy("specific { versions: 1 }")))
    assert client.predict('name: "a"') == (1, DARK)
    assert client.status('name: "a"') == {4: "END", 1: "AVAILABLE"}


def test_another_base_path(bases, serve, decoders, push, eventually):
    _, client = serve(model("m", bases / "a", policy("specific { versions: 1 }")))
    assert client.predict('name: "m"') == (1, DARK)
    # The same number, another model.
    client.reload(model("m", bases / "b"))
    assert client.predict('name: "m"') == (1, BRIGHT)
    push(decoders["dark"], bases / "b", 2)
    eventually(lambda: client.predict('name: "m"') == (2, DARK))


def test_refused_configurations_change_nothing(bases, serve, decoders):
    (bases / "empty").mkdir()
    (bases / "bad").mkdir()
    corrupt(decoders["bright"], bases / "bad" / "7")
    old = model("a", bases / "a", policy("specific { versions: 1 }"))
    server, client = serve(old)
    config = server._reloader.config
    newer = model("a", bases / "a", labels(stable=1))

    def refused(*models):
        code, details = fails(client.reload, newer, *models)
        assert client.predict('name: "a"') == (1, DARK)
        assert client.status('name: "a"') == {1: "AVAILABLE"}
        assert fails(client.predict, 'name: "a" version_label: "stable"')[0] == "INVALID_ARGUMENT"
        assert fails(client.status, 'name: "m"')[0] == "NOT_FOUND"
        assert list(server.versions) == ["a"]
        assert server._reloader.config == config
        return code, details

    good = model("m", bases / "b")
    assert refused(good, good) == (
        "INVALID_ARGUMENT",
        "Illegal to list model m multiple times in config list",
    )
    assert refused(good, model("n", bases / "b").replace("tensorflow", "torch")) == (
        "INVALID_ARGUMENT",
        "Model n requests unsupported platform torch",
    )
    assert refused(good, model("n", bases / "b", labels(stable=1))) == (
        "FAILED_PRECONDITION",
        "Request to assign label to version 1 of model n, which is not currently available for "
        "inference",
    )
    code, details = refused(good, model("n", bases / "nothing"))
    assert code == "INVALID_ARGUMENT"
    assert details.startswith(f"Could not find base path {bases / 'nothing'} for servable n with ")
    assert refused(good, model("n", bases / "empty")) == (
        "FAILED_PRECONDITION",
        f"No versions of servable n found under base path {bases / 'empty'}. "
        "Did you forget to name your leaf directory as a number (eg. '/1/')?",
    )
    code, details = refused(good, model("n", bases / "bad"))
    assert code == "UNKNOWN"
    assert details.startswith(
        "1 model(s) did not become available: {{{name: n version: 7} due to error: DATA_LOSS: "
    )


def test_only_lists_of_models(bases, serve):
    _, client = serve(model("a", bases / "a"))
    request = model_management_pb2.ReloadConfigRequest()
    for _ in range(2):
        assert fails(client.models.HandleReloadConfigRequest, request) == (
            "INVALID_ARGUMENT",
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        )
        request.config.custom_model_config.SetInParent()


def test_a_policy_without_a_version_on_disk_is_refused(bases, serve):
    _, client = serve(model("a", bases / "a"))
    wrong = model("a", bases / "a", policy("specific { versions: 77 }"))
    assert fails(client.reload, wrong)[0] == "FAILED_PRECONDITION"
    assert client.predict('name: "a"') == (4, BRIGHT)


def test_no_request_fails_while_the_configuration_changes(bases, serve):
    everything = policy("all {}")
    _, client = serve(model("a", bases / "a", everything))
    client.reload(model("a", bases / "a", everything + labels(live=1)))
    versions, failures = {"label": set(), "latest": set()}, []
    done = threading.Event()

    def ask(kind, spec):
        while not done.is_set():
            try:
                versions[kind].add(client.predict(spec)[0])
            except Exception as error:
                failures.append(error)

    workers = [
        threading.Thread(target=ask, args=("label", 'name: "a" version_label: "live"')),
        threading.Thread(target=ask, args=("latest", 'name: "a"')),
    ]
    for worker in workers:
        worker.start()
    shutil.copytree(bases / "a", bases / "moved")
    try:
        for _ in range(3):
            # The label moves and its old version goes in one step, then the model moves.
            both = policy("specific { versions: 1 versions: 2 }")
            client.reload(model("a", bases / "a", both + labels(live=2)))
            client.reload(
                model("a", bases / "a", policy("specific { versions: 2 }") + labels(live=2))
            )
            client.reload(model("a", bases / "moved", both + labels(live=2)))
            client.reload(
                model("a", bases / "moved", policy("specific { versions: 1 }") + labels(live=1))
            )
            client.reload(model("a", bases / "a", both + labels(live=1)), model("b", bases / "b"))
    finally:
        done.set()
        for worker in workers:
            worker.join()
    assert failures == []
    assert versions["label"] == {1, 2}
    assert {1, 2} <= versions["latest"]


def test_a_removed_model_finishes_what_it_runs(bases, serve, eventually):
    server, client = serve(model("a", bases / "a"), model("b", bases / "b"))
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "b"
    request.model_spec.signature_name = "slow"
    request.inputs["iterations"].dtype = 9
    request.inputs["iterations"].int64_val.append(200_000)
    running = client.prediction.Predict.future(request, timeout=20)
    manager = server.registry.managers["b"]
    eventually(lambda: manager._available[1].users == 1)
    client.reload(model("a", bases / "a"))
    assert not running.done()
    assert fails(client.predict, 'name: "b"')[0] == "NOT_FOUND"
    assert running.result().outputs["total"].float_val
    assert running.code() is grpc.StatusCode.OK
    eventually(lambda: client.status('name: "b"') == {1: "END"})


def test_the_file_is_applied_again(bases, serve, eventually, tmp_path, caplog):
    file = tmp_path / "models.config"
    server, client = serve(model("a", bases / "a"), model_config_file_poll_wait_seconds=0.05)
    file.write_text(f"model_config_list {{ {model('b', bases / 'b')} }}")
    eventually(lambda: server.versions == {"b": 1})
    # What is wrong with the file is told once, and changes nothing.
    file.write_text("model_config_list { config { nam")
    eventually(lambda: "Failed to read ModelServerConfig file" in caplog.text)
    file.write_text(f"model_config_list {{ {model('c', bases / 'nothing')} }}")
    eventually(lambda: "failed to ReloadConfig: Could not find base path" in caplog.text)
    time.sleep(0.3)
    assert caplog.text.count("failed to ReloadConfig") == 1
    assert client.predict('name: "b"') == (1, BRIGHT)
    file.write_text(f"model_config_list {{ {model('a', bases / 'a')} }}")
    eventually(lambda: server.versions == {"a": 4})
    # As with TF Serving, the file wins over a configuration that came over the wire.
    client.reload(model("b", bases / "b"))
    eventually(lambda: server.versions == {"a": 4})


def test_no_reload_after_the_server_has_stopped(bases, serve):
    server, _ = serve(model("a", bases / "a"))
    server.stop()
    with pytest.raises(StatusError, match="shutting down"):
        server._reloader.reload(server._reloader.config)
    assert server.versions == {"a": None}
