"""Which strategy is chosen, and who exports."""

import json
from types import SimpleNamespace

import pytest
import tensorflow as tf

from components.trainer import strategy


def cluster(jobs, task_type="worker", index=0):
    return json.dumps({"cluster": jobs, "task": {"type": task_type, "index": index}})


@pytest.fixture
def made(monkeypatch):
    """Replaces strategies that need hardware or other machines by their names."""
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda: "multi-worker")
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: "mirrored")
    monkeypatch.delenv("TF_CONFIG", raising=False)
    return monkeypatch


def test_one_machine_without_several_gpus_takes_the_default(made):
    assert strategy.choose_strategy() is tf.distribute.get_strategy()


def test_several_gpus_are_mirrored(made):
    made.setattr(tf.config, "list_logical_devices", lambda kind: [kind] * 2)
    assert strategy.choose_strategy() == "mirrored"


def test_a_cluster_of_workers_is_multi_worker(made):
    made.setenv("TF_CONFIG", cluster({"worker": ["a:1", "b:1"]}))
    assert strategy.choose_strategy() == "multi-worker"


def test_a_cluster_of_one_is_no_cluster(made):
    made.setenv("TF_CONFIG", cluster({"worker": ["a:1"]}))
    assert strategy.choose_strategy() is tf.distribute.get_strategy()


@pytest.mark.parametrize(
    ("jobs", "task_type", "index", "expected"),
    [
        ({"worker": ["a:1", "b:1"]}, "worker", 0, True),
        ({"worker": ["a:1", "b:1"]}, "worker", 1, False),
        ({"chief": ["a:1"], "worker": ["b:1"]}, "chief", 0, True),
        ({"chief": ["a:1"], "worker": ["b:1"]}, "worker", 0, False),
    ],
)
def test_one_process_of_a_cluster_exports(jobs, task_type, index, expected):
    resolver = SimpleNamespace(
        task_type=task_type, task_id=index, cluster_spec=lambda: tf.train.ClusterSpec(jobs)
    )
    assert strategy.is_chief(SimpleNamespace(cluster_resolver=resolver)) is expected


def test_a_single_process_exports():
    assert strategy.is_chief(tf.distribute.get_strategy())
