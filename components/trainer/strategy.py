"""Which `tf.distribute` strategy a machine calls for."""

import json
import os

import tensorflow as tf


def choose_strategy() -> tf.distribute.Strategy:
    """Picks a strategy from what is visible.

    Returns:
      MultiWorkerMirroredStrategy when `TF_CONFIG` names a cluster of workers,
      MirroredStrategy on several GPUs, the default strategy otherwise.
    """
    cluster = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {})
    if sum(len(cluster.get(job, [])) for job in ("chief", "worker")) > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that exports the model."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if resolver.task_type == "chief":
        return True
    no_chief = "chief" not in resolver.cluster_spec().as_dict()
    return no_chief and resolver.task_type == "worker" and resolver.task_id == 0
