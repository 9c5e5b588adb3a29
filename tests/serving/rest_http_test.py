"""HTTP itself: connections, bodies, limits, foreign clients, many clients, and stopping."""

import gzip
import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from components.errors import InputError
from serving import rest_server
from serving.rest_server import RestServer
from serving.servable import Servable
from tests.serving.rest_support import FixedRegistry, save_kinds

PREDICT = "/v1/models/kinds:predict"
BODY = json.dumps({"instances": [1, 2]}).encode()
ANSWER = b'{"predictions":[1.0,2.0]}'


@pytest.fixture(scope="module")
def registry(decoders, tmp_path_factory):
    kinds = Servable(save_kinds(tmp_path_factory.mktemp("saved") / "kinds"), 5)
    return FixedRegistry(kinds=[kinds], decoder=[Servable(decoders["bright"], 7)])


@pytest.fixture(scope="module")
def server(registry):
    server = RestServer(registry, "127.0.0.1", 0)
    server.start()
    yield server
    server.stop(grace=5)


@pytest.fixture
def connection(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    yield connection
    connection.close()


def exchange(connection, body=BODY, headers=None, method="POST", path=PREDICT):
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return response.status, response.read()


def converse(port, *pieces):
    """Sends bytes as they are, and returns all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        for piece in pieces:
            raw.sendall(piece)
        received = b""
        while block := raw.recv(65536):
            received += block
    return received


def head(*lines):
    return "\r\n".join([f"POST {PREDICT} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def test_one_connection_serves_many_requests_and_errors(connection):
    exchange(connection)
    address = connection.sock.getsockname()
    for _ in range(20):
        assert exchange(connection) == (200, ANSWER)
        assert exchange(connection, b"{")[0] == 400
        # The body of a GET is read, or it would be taken for the next request.
        assert exchange(connection, method="GET", path="/v1/models/kinds")[0] == 200
        assert exchange(connection, method="GET", path="/other")[0] == 404
    assert connection.sock.getsockname() == address


def test_requests_in_one_packet_are_answered_in_order(server):
    one = head("Content-Length: 17") + b'{"instances":[1]}'
    two = head("Content-Length: 17", "Connection: close") + b'{"instances":[2]}'
    received = converse(server.port, one + two)
    assert received.index(b"[1.0]") < received.index(b"[2.0]")


def test_http_1_0_closes(server):
    request = b"GET /v1/models/kinds HTTP/1.0\r\n\r\n"
    received = converse(server.port, request)
    assert received.startswith(b"HTTP/1.1 200")
    assert b"Connection: close" in received


def test_head_has_no_body(connection):
    connection.request("HEAD", "/other")
    response = connection.getresponse()
    assert (response.status, response.read()) == (404, b"")
    assert exchange(connection) == (200, ANSWER)


def test_gzip(connection):
    headers = {"Content-Encoding": "gzip"}
    assert exchange(connection, gzip.compress(BODY), headers) == (200, ANSWER)
    for broken in (BODY, gzip.compress(BODY)[:-4], b""):
        status, body = exchange(connection, broken, headers)
        assert (status, b"Failed to uncompress" in body) == (400, True)


def test_chunks(connection):
    blocks = [BODY[:3], BODY[3:4], BODY[4:]]
    connection.request("POST", PREDICT, iter(blocks), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, ANSWER)
    assert exchange(connection) == (200, ANSWER)


def test_a_body_too_large_is_refused_with_an_answer(server, monkeypatch):
    monkeypatch.setattr(rest_server, "MAX_BODY_BYTES", 100_000)
    large = b" " * 8_000_000
    for headers, body in (
        ({}, large),
        ({"Content-Encoding": "gzip"}, gzip.compress(large)),
        ({"Transfer-Encoding": "chunked"}, b"1F400\r\n" + large),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        status, text = exchange(connection, body, headers)
        assert status == 413
        assert json.loads(text) == {"error": "The body is larger than 100000 bytes."}
        connection.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"BREW /v1/models HTTP/1.1\r\n\r\n", 501),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (head("Content-Length: 5", "Content-Length: 6") + b"12345", 400),
        (head("Content-Length: -1"), 400),
        (head("Content-Length: 1_0"), 400),
        (head("Content-Length: 99999999999999999999"), 400),
        (head("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
        (head("Transfer-Encoding: gzip"), 501),
        (head("Transfer-Encoding: chunked") + b"zz\r\n", 400),
        (head("Transfer-Encoding: chunked") + b"1\r\n12\r\n", 400),
    ],
)
def test_what_is_not_http_is_refused(server, request_bytes, status):
    received = converse(server.port, request_bytes)
    assert received.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Connection: close" in received
    assert "error" in json.loads(received.partition(b"\r\n\r\n")[2])


def test_clients_that_leave_do_no_harm(server, connection):
    for piece in (b"", b"POST", head("Content-Length: 50") + b"{", head("Content-Length: 26")):
        raw = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        raw.sendall(piece)
        raw.close()
    assert exchange(connection) == (200, ANSWER)


def test_httpx(server):
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        assert client.post(PREDICT, content=BODY).json() == {"predictions": [1.0, 2.0]}
        with client.stream("POST", PREDICT, content=iter([BODY[:5], BODY[5:]])) as response:
            assert json.loads(response.read()) == {"predictions": [1.0, 2.0]}


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_with_a_body_that_it_asks_leave_for(server):
    values = [0.5] * 400_000
    url = f"http://127.0.0.1:{server.port}{PREDICT}"
    command = ["curl", "-sS", "--max-time", "20", "--data-binary", "@-", url]
    body = json.dumps({"inputs": values}).encode()
    done = subprocess.run(command, input=body, capture_output=True, check=True, timeout=30)
    assert json.loads(done.stdout)["outputs"] == values


def test_concurrent_clients_get_their_own_answers(server):
    def ask(number):
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
            for i in range(20):
                value = float(number * 100 + i)
                answer = client.post(PREDICT, json={"instances": [value]}).json()
                assert answer == {"predictions": [value]}
        return True

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(ask, range(32)))


def test_more_connections_than_allowed_are_told_so(registry, monkeypatch):
    monkeypatch.setattr(rest_server, "MAX_CONNECTIONS", 2)
    server = RestServer(registry, "127.0.0.1", 0)
    server.start()
    held = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=10) for _ in range(2)]
    for connection in held:
        assert exchange(connection)[0] == 200
    received = converse(server.port, b"")
    assert received.startswith(b"HTTP/1.1 503 ")
    assert b"More than 2 connections" in received
    held[0].close()
    deadline = time.monotonic() + 10
    while b"503" in (
        received := converse(server.port, head("Content-Length: 0", "Connection: close"))
    ):
        assert time.monotonic() < deadline
    assert received.startswith(b"HTTP/1.1 400 ")
    held[1].close()
    server.stop()


def slow_request(server, answers, iterations):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = json.dumps({"signature_name": "slow", "inputs": iterations}).encode()
    try:
        answers.append(exchange(connection, body, path="/v1/models/decoder:predict"))
    except (OSError, http.client.HTTPException) as error:
        answers.append(error)


def test_stop_lets_running_requests_finish_and_refuses_new_ones(registry):
    server = RestServer(registry, "127.0.0.1", 0)
    server.start()
    port, answers = server.port, []
    idle = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    assert exchange(idle)[0] == 200
    slow = threading.Thread(target=slow_request, args=(server, answers, 200_000))
    slow.start()
    time.sleep(0.2)
    server.stop(grace=30)
    slow.join()
    [(status, body)] = answers
    assert status == 200, body
    with pytest.raises((OSError, http.client.HTTPException)):
        exchange(idle)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    server.stop()


def test_stop_does_not_wait_longer_than_its_grace(registry):
    server = RestServer(registry, "127.0.0.1", 0)
    server.start()
    # A client that never finishes its request.
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    raw.sendall(head("Content-Length: 10"))
    time.sleep(0.2)
    start = time.monotonic()
    server.stop(grace=0.3)
    assert 0.25 < time.monotonic() - start < 3
    assert raw.recv(1) == b""
    raw.close()


def test_idle_connections_do_not_delay_a_stop(registry):
    server = RestServer(registry, "127.0.0.1", 0)
    server.start()
    raws = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(5)]
    # Connections are accepted in order, so the others are by now.
    converse(server.port, head("Connection: close"))
    start = time.monotonic()
    server.stop(grace=20)
    assert time.monotonic() - start < 3
    assert [raw.recv(1) for raw in raws] == [b""] * 5


def test_a_port_in_use_and_an_absent_address_are_told(registry, server):
    with pytest.raises(InputError, match=f"port {server.port} .*in use"):
        RestServer(registry, "127.0.0.1", server.port).start()
    with pytest.raises(InputError, match="Cannot listen"):
        RestServer(registry, "192.0.2.1", 0).start()
    with pytest.raises(InputError, match="Port 70000 does not exist"):
        RestServer(registry, "127.0.0.1", 70_000).start()
    with pytest.raises(RuntimeError, match="not started"):
        _ = RestServer(registry, "127.0.0.1", 0).port


def test_ipv6(registry):
    server = RestServer(registry, "::1", 0)
    try:
        server.start()
    except InputError:
        pytest.skip("This machine has no IPv6.")
    connection = http.client.HTTPConnection("::1", server.port, timeout=10)
    assert exchange(connection) == (200, ANSWER)
    connection.close()
    server.stop()


def test_a_fault_of_the_server_is_a_500_that_keeps_its_secrets(caplog):
    class Broken:
        def acquire(self, spec):
            raise ZeroDivisionError("secret")

    server = RestServer(Broken(), "127.0.0.1", 0)
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    status, body = exchange(connection)
    assert (status, json.loads(body)) == (500, {"error": "The server failed; its log tells why."})
    assert "secret" in caplog.text
    assert exchange(connection)[0] == 500
    connection.close()
    server.stop()
