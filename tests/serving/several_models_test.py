"""Servers with a model configuration file: several models, version policies and labels."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import InputError
from tests.serving.wire_client import BRIGHT, DARK, Client, fails, labels, model, policy

REPOSITORY = Path(__file__).parents[2]


def test_two_models_and_policies(bases, serve):
    server, client = serve(
        model("a", bases / "a", policy("latest { num_versions: 2 }")), model("b", bases / "b")
    )
    assert server.versions == {"a": 4, "b": 1}
    assert server.version is None
    assert client.predict('name: "a"') == (4, BRIGHT)
    assert client.predict('name: "a" version { value: 3 }') == (3, DARK)
    assert client.predict('name: "b"') == (1, BRIGHT)
    assert client.status('name: "a"') == {4: "AVAILABLE", 3: "AVAILABLE"}
    assert fails(client.predict, 'name: "a" version { value: 2 }') == (
        "NOT_FOUND",
        "Servable not found for request: Specific(a, 2)",
    )
    assert fails(client.predict, 'name: "c"') == (
        "NOT_FOUND",
        "Servable not found for request: Latest(c)",
    )


def test_all_and_specific(bases, serve):
    _, client = serve(
        model("all", bases / "a", policy("all {}")),
        model("some", bases / "a", policy("specific { versions: 1 versions: 2 versions: 99 }")),
    )
    assert sorted(client.status('name: "all"')) == [1, 2, 3, 4]
    assert client.status('name: "some"') == {2: "AVAILABLE", 1: "AVAILABLE"}
    assert client.predict('name: "some"') == (2, BRIGHT)
    assert client.predict('name: "some" version { value: 1 }') == (1, DARK)


def test_a_window_of_versions_moves(bases, serve, decoders, push, eventually):
    _, client = serve(model("a", bases / "a", policy("latest { num_versions: 2 }")))
    push(decoders["dark"], bases / "a", 5)
    eventually(lambda: client.status('name: "a"') == {5: "AVAILABLE", 4: "AVAILABLE", 3: "END"})


def test_a_corrupt_version_in_a_window_leaves_the_good_one(bases, serve, decoders, eventually):
    _, client = serve(model("a", bases / "a", policy("latest { num_versions: 2 }")))
    shutil.copytree(decoders["bright"], bases / "incoming")
    (bases / "incoming" / "saved_model.pb").write_bytes(b"\xff")
    (bases / "incoming").rename(bases / "a" / "9")
    eventually(lambda: client.status('name: "a"').get(9) == "END")
    assert client.predict('name: "a"') == (4, BRIGHT)


def test_labels(bases, serve):
    _, client = serve(
        model("a", bases / "a", policy("all {}") + labels(stable=3, canary=4)),
        model("b", bases / "b"),
        allow_version_labels_for_unavailable_models=True,
    )
    assert client.predict('name: "a" version_label: "stable"') == (3, DARK)
    assert client.predict('name: "a" version_label: "canary"') == (4, BRIGHT)
    assert client.metadata_version('name: "a" version_label: "stable"') == 3
    # TF Serving ignores a label here, and tells about all versions.
    assert sorted(client.status('name: "a" version_label: "stable"')) == [1, 2, 3, 4]
    for spec in ('name: "a" version_label: "no"', 'name: "b" version_label: "no"'):
        for call in (client.predict, client.metadata_version):
            assert fails(call, spec) == (
                "INVALID_ARGUMENT",
                "Unrecognized servable version label: no",
            )


def test_a_label_of_a_version_that_is_not_there(bases, serve):
    _, client = serve(
        model("a", bases / "a", labels(stable=1)),
        allow_version_labels_for_unavailable_models=True,
    )
    assert fails(client.predict, 'name: "a" version_label: "stable"') == (
        "NOT_FOUND",
        "Servable not found for request: Specific(a, 1)",
    )


def test_moving_a_label(bases, serve):
    everything = policy("all {}")
    _, client = serve(model("a", bases / "a", everything))
    client.reload(model("a", bases / "a", everything + labels(stable=1)))
    assert client.predict('name: "a" version_label: "stable"') == (1, DARK)
    client.reload(model("a", bases / "a", everything + labels(stable=2, old=1)))
    assert client.predict('name: "a" version_label: "stable"') == (2, BRIGHT)
    assert client.predict('name: "a" version_label: "old"') == (1, DARK)
    client.reload(model("a", bases / "a", everything))
    assert fails(client.predict, 'name: "a" version_label: "stable"')[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("allowed", [True, False])
def test_who_may_label_a_version_that_is_not_available(bases, serve, allowed):
    only_four = model("a", bases / "a")
    _, client = serve(only_four, allow_version_labels_for_unavailable_models=allowed)
    client.reload(model("a", bases / "a", labels(stable=4)))
    refusal = (
        "FAILED_PRECONDITION",
        "Request to assign label to version 1 of model a, which is not currently available for "
        "inference",
    )
    # A label that is in use never moves to a version that cannot answer.
    assert fails(client.reload, model("a", bases / "a", labels(stable=1))) == refusal
    new = model("a", bases / "a", labels(stable=4, new=1))
    if allowed:
        client.reload(new)
        client.reload(new)
    else:
        assert fails(client.reload, new) == refusal
    assert client.predict('name: "a" version_label: "stable"') == (4, BRIGHT)


def test_every_model_is_waited_for(bases, serve):
    (bases / "empty").mkdir()
    with pytest.raises(InputError, match=f"^The model base path {bases / 'empty'} holds no vers"):
        serve(model("a", bases / "a"), model("e", bases / "empty"))


def test_command(bases, tmp_path):
    file = tmp_path / "models.config"
    file.write_text(
        f"model_config_list {{ {model('a', bases / 'a', labels(new=4))} "
        f"{model('b', bases / 'b')} }}"
    )
    command = [sys.executable, "-m", "serving.server", "--port=0", f"--model_config_file={file}"]
    process = subprocess.Popen(
        [*command, "--allow_version_labels_for_unavailable_models"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        match = re.fullmatch(r"Serving a version 4, b version 1 on (\S+) \(gRPC\)\n", line)
        client = Client(match[1])
        assert client.predict('name: "a" version_label: "new"') == (4, BRIGHT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()
