"""Which version serves: hot swap, failures that must not be noticed by clients, and roll-back."""

import shutil
import threading

import numpy as np
import pytest

from serving.client import DecoderClient
from serving.model_manager import ModelManager, State
from serving.server import ModelServer
from serving.status import StatusError
from serving.version_directory import list_versions

DARK, BRIGHT = 1 / (1 + np.e), 1 / (1 + np.exp(-1))
ORIGIN = np.zeros([1, 2], np.float32)


def brightness(servable):
    signature = servable.signatures["decode"]
    [mean] = servable.run([(signature.inputs["z"], ORIGIN)], [signature.outputs["mean"]])
    return pytest.approx(mean.reshape(-1)[0], abs=1e-6)


def states(manager):
    return {version: status.state.name for version, status in manager.statuses().items()}


@pytest.fixture
def base_path(decoders, push, tmp_path):
    push(decoders["dark"], tmp_path, 1)
    return tmp_path


@pytest.fixture
def manager(base_path):
    manager = ModelManager("decoder", base_path)
    manager.poll()
    yield manager
    manager.stop()


def corrupt(model, version_directory):
    """A model whose graph cannot be read."""
    shutil.copytree(model, version_directory)
    (version_directory / "saved_model.pb").write_bytes(b"\xff not a protobuf")


def test_a_newer_version_replaces_the_older(manager, base_path, decoders, push):
    with manager.acquire() as servable:
        assert brightness(servable) == DARK
    push(decoders["bright"], base_path, 2)
    manager.poll()
    with manager.acquire() as servable:
        assert (servable.version, brightness(servable)) == (2, BRIGHT)
    assert states(manager) == {2: "AVAILABLE", 1: "END"}
    assert list(manager.statuses()) == [2, 1]
    with pytest.raises(StatusError, match=r"Specific\(decoder, 1\)"), manager.acquire(1):
        pass


def test_the_highest_number_counts_not_the_last_name(base_path, decoders, push):
    push(decoders["bright"], base_path, 10)
    push(decoders["dark"], base_path, "0009")
    manager = ModelManager("decoder", base_path)
    manager.poll()
    assert manager.latest_version == 10
    manager.stop()


def test_a_request_in_flight_keeps_its_version_until_it_ends(manager, base_path, decoders, push):
    with manager.acquire() as held:
        push(decoders["bright"], base_path, 2)
        manager.poll()
        assert manager.latest_version == 2
        assert states(manager) == {2: "AVAILABLE", 1: "UNLOADING"}
        assert brightness(held) == DARK
    assert states(manager)[1] == "END"
    with pytest.raises(StatusError, match="Session has been closed"):
        brightness(held)


def test_a_corrupt_version_never_displaces_one_that_works(manager, base_path, decoders):
    corrupt(decoders["bright"], base_path / "2")
    manager.poll()
    with manager.acquire() as servable:
        assert (servable.version, brightness(servable)) == (1, DARK)
    assert states(manager) == {2: "END", 1: "AVAILABLE"}
    error = manager.statuses()[2].error
    assert error.code.name == "DATA_LOSS"
    assert "saved_model.pb" in error.message


def test_a_version_without_its_variables_never_displaces_one_that_works(
    manager, base_path, decoders, push
):
    shutil.rmtree(push(decoders["bright"], base_path, 2) / "variables")
    manager.poll()
    assert manager.latest_version == 1
    assert manager.statuses()[2].state is State.END
    assert manager.statuses()[2].error is not None


def test_a_failed_version_is_tried_again_only_when_its_file_changes(
    manager, base_path, decoders, monkeypatch
):
    import serving.model_manager as module

    attempts = []
    original = module.Servable

    def counting(path, version):
        attempts.append(version)
        return original(path, version)

    monkeypatch.setattr(module, "Servable", counting)
    corrupt(decoders["bright"], base_path / "2")
    manager.poll()
    manager.poll()
    assert attempts == [2]
    shutil.copy(decoders["bright"] / "saved_model.pb", base_path / "2" / "saved_model.pb")
    manager.poll()
    manager.poll()
    assert attempts == [2, 2]
    assert manager.latest_version == 2
    assert manager.statuses()[2].error is None


def test_a_half_written_directory_is_not_there_yet(manager, base_path, decoders):
    shutil.copytree(decoders["bright"], base_path / "2")
    (base_path / "2" / "saved_model.pb").unlink()
    manager.poll()
    assert states(manager) == {1: "AVAILABLE"}
    shutil.copy(decoders["bright"] / "saved_model.pb", base_path / "2")
    manager.poll()
    assert states(manager) == {2: "AVAILABLE", 1: "END"}


def test_deleting_the_newest_version_rolls_back(manager, base_path, decoders, push):
    push(decoders["bright"], base_path, 2)
    manager.poll()
    shutil.rmtree(base_path / "2")
    manager.poll()
    with manager.acquire() as servable:
        assert (servable.version, brightness(servable)) == (1, DARK)
    assert states(manager) == {2: "END", 1: "AVAILABLE"}


def test_an_empty_base_path_unloads_and_a_missing_one_does_not(manager, base_path, tmp_path):
    moved = base_path.rename(tmp_path.with_name(tmp_path.name + "-moved"))
    manager.poll()
    assert manager.latest_version == 1
    moved.rename(base_path)
    shutil.rmtree(base_path / "1")
    manager.poll()
    assert manager.latest_version is None
    with pytest.raises(StatusError, match=r"Latest\(decoder\)"), manager.acquire():
        pass


def test_a_serving_version_that_loses_its_file_goes_on_serving(manager, base_path):
    (base_path / "1" / "saved_model.pb").unlink()
    manager.poll()
    assert states(manager) == {1: "AVAILABLE"}


def test_only_directories_whose_names_are_int64_are_versions(tmp_path):
    for name in ("7", "00000123", "+5", "v8", "1.5", "temp-9", str(2**63), str(2**63 - 1)):
        (tmp_path / name).mkdir()
    (tmp_path / "11").write_text("a file")
    assert sorted(list_versions(tmp_path)) == [5, 7, 123, 2**63 - 1]


def test_requests_never_fail_while_versions_change_under_them(
    base_path, decoders, push, eventually
):
    seen, failures = [], []
    done = threading.Event()

    def ask(target):
        with DecoderClient(target, timeout=5) as client:
            while not done.is_set():
                try:
                    seen.append(float(client.decode(ORIGIN)[0, 0, 0, 0]))
                except Exception as error:
                    failures.append(error)

    with ModelServer("decoder", base_path, poll_wait_seconds=0.05) as server:
        workers = [threading.Thread(target=ask, args=(server.target,)) for _ in range(3)]
        for worker in workers:
            worker.start()
        try:
            eventually(lambda: len(seen) > 20)
            corrupt(decoders["bright"], base_path / "2")
            eventually(lambda: len(server.registry.managers["decoder"].statuses()) == 2)
            push(decoders["bright"], base_path, 3)
            eventually(lambda: server.version == 3)
            count = len(seen)
            eventually(lambda: len(seen) > count + 20)
        finally:
            done.set()
            for worker in workers:
                worker.join()
        with DecoderClient(server.target) as client:
            assert client.status() == [(3, "AVAILABLE"), (2, "END"), (1, "END")]
    assert failures == []
    # Every answer is of one version or the other, and the last ones are of the new version.
    assert {round(value, 5) for value in seen} == {round(DARK, 5), round(BRIGHT, 5)}
    assert seen[-1] == pytest.approx(BRIGHT)
