"""Starting and stopping: what the command prints, what it refuses, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest

from components.errors import InputError
from serving.client import DecoderClient
from serving.server import ModelServer, main
from serving.server_options import ServerOptions

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def base_path(decoders, push, tmp_path):
    push(decoders["bright"], tmp_path, 3)
    return tmp_path


def run_server(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "serving.server", *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def can_connect(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_command_serves_and_sigterm_lets_the_running_request_finish(base_path):
    process = run_server("--model_name=decoder", f"--model_base_path={base_path}", "--port=0")
    try:
        line = process.stdout.readline()
        match = re.fullmatch(r"Serving decoder version 3 on (127\.0\.0\.1:\d+) \(gRPC\)\n", line)
        assert match, (line, process.stderr.read())
        with DecoderClient(match[1], timeout=15) as client:
            client.decode(np.zeros([1, 2]))
            # A second or two of work, in flight when the signal arrives.
            answers = []
            inputs = {"iterations": np.int64(400_000)}
            request = threading.Thread(
                target=lambda: answers.append(client.predict("slow", inputs))
            )
            request.start()
            time.sleep(0.3)
            assert not answers
            process.send_signal(signal.SIGTERM)
            request.join()
        assert process.wait(timeout=20) == 0
        assert "total" in answers[0]
        assert process.stdout.read() == ""
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


def test_a_second_signal_does_not_wait(base_path):
    process = run_server("--model_name=decoder", f"--model_base_path={base_path}", "--port=0")
    try:
        target = process.stdout.readline().split()[-2]
        with DecoderClient(target, timeout=5) as client:
            client.decode(np.zeros([1, 2]))
            endless = {"iterations": np.int64(10**12)}

            def ask():
                with pytest.raises(InputError):
                    client.predict("slow", endless)

            request = threading.Thread(target=ask)
            request.start()
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=3) == 128 + signal.SIGINT
            request.join()
    finally:
        process.kill()
        process.communicate()


def test_help_does_not_import_tensorflow():
    code = (
        "import sys, serving.server, serving.client\n"
        "assert not {'tensorflow', 'grpc'} & set(sys.modules)\n"
        "serving.server.main(['--help'])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    for flag in ("port", "host", "model_name", "model_base_path", "file_system_poll_wait_seconds"):
        assert f"--{flag} " in process.stdout


def test_port_in_use(base_path):
    with ModelServer("decoder", base_path) as first:
        second = ModelServer("decoder", base_path, port=first.port)
        with pytest.raises(InputError) as failure:
            second.start()
        with DecoderClient(first.target) as client:
            assert client.status() == [(3, "AVAILABLE")]
    assert str(failure.value) == (
        f"Port {first.port} on 127.0.0.1 is in use; stop the program that listens there, "
        "or give another --port."
    )


def test_port_taken_while_the_model_was_loading(base_path, monkeypatch):
    import serving.server as module

    with ModelServer("decoder", base_path) as first:
        monkeypatch.setattr(module, "check_can_listen", lambda *arguments: None)
        second = ModelServer("decoder", base_path, port=first.port)
        with pytest.raises(InputError, match=f"^Port {first.port} on 127.0.0.1 is in use; .*"):
            second.start()
        assert second.version is None


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        (
            "192.0.2.1",
            0,
            r"Cannot listen on 192\.0\.2\.1:0 \(.+\); give another --host or --port\.",
        ),
        ("no.such.host.invalid", 0, r"Cannot listen on no\.such\.host\.invalid:0 \(.+\); .*"),
        ("127.0.0.1", 70000, "Port 70000 does not exist; give a --port from 0 to 65535."),
    ],
)
def test_address_that_cannot_be_listened_on(base_path, host, port, message):
    with pytest.raises(InputError) as failure:
        ModelServer("decoder", base_path, port=port, host=host).start()
    assert re.fullmatch(message, str(failure.value))


def test_missing_base_path(tmp_path, capsys):
    missing = tmp_path / "missing"
    assert main(["--model_base_path", str(missing), "--port", "0"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        f"Error: The model base path {missing} is not a directory; "
        "push a model there first, or correct --model_base_path.\n"
    )


def test_base_path_without_a_version(tmp_path):
    with pytest.raises(InputError, match=f"^The model base path {tmp_path} holds no version; "):
        ModelServer("decoder", tmp_path, poll_wait_seconds=0.05).start(timeout=0.2)
    with pytest.raises(InputError, match="holds no version"):
        ModelServer("decoder", tmp_path, poll_wait_seconds=0).start()


def test_a_server_that_waits_says_so(decoders, push, tmp_path):
    process = run_server(f"--model_base_path={tmp_path}", "--port=0")
    try:
        assert process.stdout.readline() == (
            f"Waiting for a first version in {tmp_path}: a folder that is named by a number and "
            "holds a SavedModel.\n"
        )
        push(decoders["bright"], tmp_path, 1)
        assert process.stdout.readline().startswith("Serving default version 1 on ")
    finally:
        process.kill()
        process.communicate()


def test_first_version_that_cannot_be_loaded(base_path):
    (base_path / "3" / "saved_model.pb").write_bytes(b"\xff")
    server = ModelServer("decoder", base_path)
    with pytest.raises(InputError) as failure:
        server.start()
    assert str(failure.value).startswith(
        f"Version 3 of model decoder in {base_path} cannot be loaded: "
    )
    assert "\n" not in str(failure.value)


def test_the_port_opens_when_the_first_version_is_there(decoders, push, tmp_path, eventually):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ModelServer("decoder", tmp_path, port=port, poll_wait_seconds=0.05)
    started = threading.Thread(target=server.start)
    started.start()
    time.sleep(0.3)
    assert not can_connect(port)
    push(decoders["bright"], tmp_path, 1)
    started.join(timeout=10)
    assert server.version == 1
    assert can_connect(port)
    server.stop()
    assert not can_connect(port)


def test_stopping_while_waiting_for_a_first_version(tmp_path):
    server = ModelServer("decoder", tmp_path, poll_wait_seconds=0.05)
    results = []
    started = threading.Thread(target=lambda: results.append(server.start()))
    started.start()
    time.sleep(0.2)
    assert not server.wait(timeout=0)
    server.stop()
    started.join(timeout=5)
    assert results == [False]
    assert server.wait(timeout=0)


def test_stop_drains_refuses_and_unloads(base_path, eventually):
    server = ModelServer("decoder", base_path)
    server.start()
    with DecoderClient(server.target, timeout=15) as client:
        client.decode(np.zeros([1, 2]))
        answers = []
        inputs = {"iterations": np.int64(200_000)}
        request = threading.Thread(target=lambda: answers.append(client.predict("slow", inputs)))
        request.start()
        eventually(lambda: server.registry.managers["decoder"]._available[3].users == 1)
        server.stop(grace=10)
        request.join()
    assert "total" in answers[0]
    assert server.version is None
    assert not can_connect(server.port)
    server.stop()  # A second time changes nothing.
    with pytest.raises(RuntimeError, match="starts once"):
        server.start()


def test_a_stopped_server_gives_its_port_back(base_path):
    with ModelServer("decoder", base_path) as first, DecoderClient(first.target) as client:
        client.status()
    with ModelServer("decoder", base_path, port=first.port) as second:
        assert second.port == first.port


def test_arguments_that_make_no_sense(base_path):
    with pytest.raises(InputError, match="name is empty"):
        ModelServer("", base_path)
    with pytest.raises(InputError, match="poll interval is -1 s"):
        ModelServer("decoder", base_path, poll_wait_seconds=-1)
    with pytest.raises(RuntimeError, match="has not started"):
        _ = ModelServer("decoder", base_path).port
    with pytest.raises(RuntimeError, match="has not started"):
        _ = ModelServer("decoder", base_path).registry
    with pytest.raises(InputError, match="There is nothing to serve; give a --model_base_path"):
        ModelServer("decoder")
    with pytest.raises(InputError, match="leave out --model_name and --model_base_path, or the f"):
        ModelServer(None, base_path, options=ServerOptions(model_config_file="models.config"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_config_file_poll_wait_seconds": -1}, "poll_wait_seconds is negative"),
        ({"model_config_file_poll_wait_seconds": 1}, "needs a --model_config_file"),
        ({"monitoring_config_file": "file"}, "needs a --rest_api_port"),
        ({"grpc_max_threads": 0}, "--grpc_max_threads is less than 1"),
        ({"max_request_bytes": 0}, "--max_request_bytes must be from 1 to 2147483647"),
        ({"max_request_bytes": 2**31}, "--max_request_bytes must be from 1 to 2147483647"),
        ({"max_requests_in_flight": 0}, "--max_requests_in_flight is less than 1"),
    ],
)
def test_options_that_make_no_sense(settings, message):
    with pytest.raises(InputError, match=message):
        ServerOptions(**settings)


def test_session_service_is_not_served(base_path):
    with (
        ModelServer("decoder", base_path) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        run = channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")
        with pytest.raises(grpc.RpcError) as failure:
            run(b"", timeout=10)
    assert failure.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_relative_base_path(base_path, monkeypatch):
    monkeypatch.chdir(base_path.parent)
    with ModelServer("decoder", os.path.relpath(base_path)) as server:
        monkeypatch.chdir("/")
        assert server.version == 3
        server.registry.managers["decoder"].poll()
        assert server.version == 3
