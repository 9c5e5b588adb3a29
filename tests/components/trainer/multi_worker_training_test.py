"""Training in two processes that TF_CONFIG makes a cluster, with and without a death among them.

Run as a program, this file trains as one process of it.
"""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.trainer.config import TrainingConfig

ROOT = Path(__file__).parents[3]
# 400 images make a last batch of 20, and two processes do not divide one of 95.
CONFIG = TrainingConfig(
    architecture="dense",
    hidden_units=(16,),
    latent_size=2,
    epochs=3,
    batch_size=95,
    ema_momentum=0.9,
)
# Far longer than TensorFlow takes to notice a death (10 s): a busy machine takes minutes to start.
PATIENCE = 600


def train(examples, folder, write=lambda line: None):
    from components.trainer.run_fn import train

    return train(
        CONFIG,
        [f"{examples}/Split-train/*"],
        [f"{examples}/Split-eval/*"],
        f"{folder}/model",
        f"{folder}/model_run/1",
        write=write,
    )


def main():
    from components.trainer import progress

    examples, folder, dies = sys.argv[1:]

    class Dying(progress.StopOnNonFinite):
        def on_train_batch_end(self, batch, logs=None):
            if (self._epoch, batch) == (1, 2):
                os.kill(os.getpid(), signal.SIGKILL)

    if dies == "dies":
        from components.trainer import run_fn

        run_fn.StopOnNonFinite = Dying
    print(json.dumps(train(examples, folder, write=print)))


class Processes:
    """Two processes of a cluster on this machine; none outlives the test."""

    def __init__(self, examples, folder, dies=None):
        addresses = free_addresses()
        self.outputs = [folder / f"{time.monotonic_ns()}-{index}.txt" for index in (0, 1)]
        self.processes = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.components.trainer.multi_worker_training_test",
                    str(examples),
                    str(folder),
                    "dies" if dies == index else "lives",
                ],
                cwd=ROOT,
                env={**os.environ, "TF_CONFIG": tf_config(addresses, index)},
                stdout=output.open("w"),
                stderr=subprocess.STDOUT,
            )
            for index, output in enumerate(self.outputs)
        ]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in self.processes:
            process.kill()
            process.wait()

    def wait(self):
        """Exit codes of both; fails if they do not end."""
        until = time.monotonic() + PATIENCE
        return [process.wait(max(0.0, until - time.monotonic())) for process in self.processes]

    def histories(self):
        assert self.wait() == [0, 0], [output.read_text()[-2000:] for output in self.outputs]
        return [
            json.loads(re.findall(r"^\{.*\}$", output.read_text(), re.MULTILINE)[-1])
            for output in self.outputs
        ]


def free_addresses():
    sockets = [socket.create_server(("localhost", 0)) for _ in range(2)]
    addresses = [f"localhost:{server.getsockname()[1]}" for server in sockets]
    for server in sockets:
        server.close()
    return addresses


def tf_config(addresses, index):
    return json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    )


def rows(folder):
    with open(folder / "model_run" / "1" / "history.csv", newline="") as file:
        return {int(row.pop("epoch")): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def single(ready_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    return folder, train(ready_digits.uri, folder)


@pytest.fixture(scope="module")
def cluster(ready_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    with Processes(ready_digits.uri, folder) as processes:
        histories = processes.histories()
        return folder, histories, [output.read_text() for output in processes.outputs]


def test_two_processes_have_the_history_of_one(single, cluster):
    for history in cluster[1]:
        assert history.keys() == single[1].keys()
        for name, values in single[1].items():
            assert history[name] == pytest.approx(values, rel=1e-4, abs=1e-4), name


def test_the_chief_alone_writes(single, cluster):
    def written(folder):
        # Of event files, the name ends in a time and a process number.
        names = (str(path.relative_to(folder)) for path in folder.rglob("*"))
        return sorted(re.sub(r"tfevents.*", "tfevents", name) for name in names)

    files = [name for name in written(cluster[0]) if not re.fullmatch(r"\d+-[01]\.txt", name)]
    assert files == written(single[0])
    chief, worker = cluster[2]
    assert chief.count("images/s") == CONFIG.epochs
    assert "images/s" not in worker


def test_the_model_of_two_processes_is_that_of_one(single, cluster):
    import tensorflow as tf

    codes = tf.constant([[0.5, -1.0]])
    one, two = (
        tf.saved_model.load(str(folder / "model")).signatures["decode"](z=codes)["mean"].numpy()
        for folder in (single[0], cluster[0])
    )
    assert two == pytest.approx(one, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1], ids=["chief", "worker"])
def test_a_death_ends_the_others_and_a_restart_goes_on(ready_digits, single, tmp_path, victim):
    with Processes(ready_digits.uri, tmp_path, dies=victim) as processes:
        codes = processes.wait()
        assert codes[victim] == -signal.SIGKILL
        assert codes[1 - victim] == 1
        assert "UnavailableError" in processes.outputs[1 - victim].read_text()
    assert not (tmp_path / "model").exists()
    assert list(rows(tmp_path)) == [0]
    with Processes(ready_digits.uri, tmp_path) as processes:
        histories = processes.histories()
        assert "resuming an interrupted training" in processes.outputs[0].read_text()
    assert [len(history["loss"]) for history in histories] == [CONFIG.epochs - 1] * 2
    resumed = rows(tmp_path)
    for epoch, row in rows(single[0]).items():
        for name, value in row.items():
            assert float(resumed[epoch][name]) == pytest.approx(float(value), rel=1e-4, abs=1e-4)
    assert (tmp_path / "model" / "saved_model.pb").is_file()


if __name__ == "__main__":
    main()
