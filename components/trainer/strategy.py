"""Which `tf.distribute` strategy a machine calls for, and which process speaks for all."""

import json
import os
from typing import NamedTuple

import tensorflow as tf

from components.errors import InputError

_JOBS = ("chief", "worker")
_REMEDY = (
    'set it to {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": '
    "0}}, or unset it to train in one process."
)


class _Place(NamedTuple):
    """A process's place in a cluster."""

    size: int
    is_chief: bool


def choose_strategy() -> tf.distribute.Strategy:
    """Picks a strategy from what is visible; call it before anything is computed.

    Returns:
      MultiWorkerMirroredStrategy when `TF_CONFIG` names a cluster of processes, and waits until
      all of them are here; MirroredStrategy on several GPUs; the default strategy otherwise.

    Raises:
      InputError: If `TF_CONFIG` cannot be used.
    """
    if _place().size > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def is_chief() -> bool:
    """Whether this process is the one that writes logs and the model, by `TF_CONFIG`.

    Raises:
      InputError: If `TF_CONFIG` cannot be used.
    """
    return _place().is_chief


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns when every process has come here; fails when one has died."""
    if _place().size > 1:
        strategy.reduce(tf.distribute.ReduceOp.SUM, tf.zeros([]), axis=None)


def _place() -> _Place:
    text = os.environ.get("TF_CONFIG")
    if not text:
        return _Place(size=1, is_chief=True)
    try:
        config = json.loads(text)
        cluster = config.get("cluster") or {}
        sizes = {job: len(cluster.get(job) or []) for job in _JOBS}
        if not any(sizes.values()):
            return _Place(size=1, is_chief=True)
        job, index = str(config["task"]["type"]), int(config["task"]["index"])
    except json.JSONDecodeError as error:
        raise InputError(f"TF_CONFIG is not JSON ({error}); {_REMEDY}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"TF_CONFIG does not name a cluster and a task in it; {_REMEDY}"
        ) from error
    if not 0 <= index < sizes.get(job, 0):
        raise InputError(f"TF_CONFIG's task {job} {index} is not in its cluster; {_REMEDY}")
    return _Place(
        size=sum(sizes.values()), is_chief=index == 0 and (job == "chief" or not sizes["chief"])
    )
