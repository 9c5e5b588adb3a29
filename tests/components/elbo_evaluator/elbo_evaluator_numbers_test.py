"""The gate's numbers do not depend on how the work is cut up."""

import copy
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(scope="module")
def resharded(ready_digits, tmp_path_factory):
    """The same Examples in seven files a split, in another order."""
    examples = copy.deepcopy(ready_digits)
    examples.uri = str(tmp_path_factory.mktemp("resharded") / "examples")
    shutil.copytree(ready_digits.uri, examples.uri)
    for split in ("train", "test"):
        (file,) = Path(examples.uri, f"Split-{split}").iterdir()
        records = list(tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator())
        file.unlink()
        order = np.random.default_rng(1).permutation(len(records))
        for shard in range(7):
            path = file.with_name(f"data_tfrecord-{shard:05d}-of-00007.gz")
            with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions("GZIP")) as writer:
                for i in order[shard::7]:
                    writer.write(records[i])
    return examples


def _numbers(judged):
    """Every number that was measured, by its place in `gate.json`."""

    def leaves(value, place):
        if isinstance(value, dict):
            for key, item in value.items():
                yield from leaves(item, f"{place}/{key}")
        elif isinstance(value, list):
            for i, item in enumerate(value):
                yield from leaves(item, f"{place}/{i}")
        else:
            yield place, float(value)

    document = json.loads(Path(judged.evaluation.uri, "gate.json").read_text())
    measured = {key: document[key] for key in ("overall", "by_label", "samples")}
    return dict(leaves(measured, ""))


def _assert_equal(given, expected):
    assert list(given) == list(expected)
    different = {
        place: (given[place], value)
        for place, value in expected.items()
        if not math.isclose(given[place], value, rel_tol=1e-6)
        and not (math.isnan(value) and math.isnan(given[place]))
    }
    assert different == {}


@pytest.fixture(scope="module")
def expected(judge):
    numbers = _numbers(judge(batch_size=512))
    assert len(numbers) > 400
    assert all(f"/{key}/" in "".join(numbers) for key in ("overall", "by_label", "samples"))
    return numbers


def test_batch_size_files_and_order_do_not_matter(judge, resharded, expected):
    _assert_equal(_numbers(judge(examples=resharded, batch_size=32)), expected)


@pytest.mark.slow
def test_processes_do_not_matter(judge, resharded, expected):
    judged = judge(
        examples=resharded,
        beam_arguments=["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
    )
    _assert_equal(_numbers(judged), expected)
