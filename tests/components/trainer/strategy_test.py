"""Which strategy is chosen, and who exports."""

import json

import pytest
import tensorflow as tf

from components.errors import InputError
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


@pytest.mark.parametrize(
    "jobs", [{"worker": ["a:1", "b:1"]}, {"chief": ["a:1"], "worker": ["b:1"]}]
)
def test_a_cluster_of_several_is_multi_worker(made, jobs):
    made.setenv("TF_CONFIG", cluster(jobs))
    assert strategy.choose_strategy() == "multi-worker"


@pytest.mark.parametrize(
    "text", ["", "{}", cluster({"worker": ["a:1"]}), cluster({"chief": ["a:1"]}, "chief")]
)
def test_a_cluster_of_one_or_none_is_a_single_process(made, text):
    made.setenv("TF_CONFIG", text)
    assert strategy.choose_strategy() is tf.distribute.get_strategy()
    assert strategy.is_chief()


@pytest.mark.parametrize(
    ("jobs", "task_type", "index", "expected"),
    [
        ({"worker": ["a:1", "b:1"]}, "worker", 0, True),
        ({"worker": ["a:1", "b:1"]}, "worker", 1, False),
        ({"chief": ["a:1"], "worker": ["b:1"]}, "chief", 0, True),
        ({"chief": ["a:1"], "worker": ["b:1"]}, "worker", 0, False),
    ],
)
def test_one_process_of_a_cluster_exports(made, jobs, task_type, index, expected):
    made.setenv("TF_CONFIG", cluster(jobs, task_type, index))
    assert strategy.is_chief() is expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("worker 0", "is not JSON"),
        ("[]", "does not name a cluster and a task in it"),
        (json.dumps({"cluster": {"worker": ["a:1", "b:1"]}}), "does not name a cluster"),
        (cluster({"worker": ["a:1", "b:1"]}, index="first"), "does not name a cluster"),
        (cluster({"worker": ["a:1", "b:1"]}, index=2), "task worker 2 is not in its cluster"),
        (cluster({"worker": ["a:1", "b:1"]}, index=-1), "task worker -1 is not in its cluster"),
        (cluster({"worker": ["a:1", "b:1"]}, "chief"), "task chief 0 is not in its cluster"),
        (cluster({"worker": ["a:1"], "ps": ["b:1"]}, "ps"), "task ps 0 is not in its cluster"),
    ],
)
def test_a_tf_config_that_cannot_be_used_is_refused_with_a_remedy(made, text, problem):
    made.setenv("TF_CONFIG", text)
    for function in (strategy.choose_strategy, strategy.is_chief):
        with pytest.raises(InputError, match=rf"^TF_CONFIG.*{problem}.*; set it to .*$") as error:
            function()
        assert "\n" not in str(error.value)


def test_a_single_process_waits_for_nobody(made):
    strategy.wait_for_all(tf.distribute.get_strategy())
