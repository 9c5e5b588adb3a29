"""Which `tf.distribute` strategy a machine calls for, and which process speaks for all."""

import json
import os

import tensorflow as tf


def _tf_config() -> dict:
    return json.loads(os.environ.get("TF_CONFIG") or "{}")


def choose_strategy() -> tf.distribute.Strategy:
    """Picks a strategy from what is visible.

    Returns:
      MultiWorkerMirroredStrategy when `TF_CONFIG` names a cluster of workers,
      MirroredStrategy on several GPUs, the default strategy otherwise.
    """
    cluster = _tf_config().get("cluster", {})
    if sum(len(cluster.get(job, [])) for job in ("chief", "worker")) > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def is_chief() -> bool:
    """Whether this process is the one that writes logs and the model, by `TF_CONFIG`."""
    config = _tf_config()
    task = config.get("task", {})
    if not task or task.get("type") == "chief":
        return True
    no_chief = not config.get("cluster", {}).get("chief")
    return no_chief and task.get("type") == "worker" and int(task.get("index", 0)) == 0
