import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
import tensorflow_datasets as tfds

from components.tfds_example_gen import DataSource
from schemas import schema_file

_CLASSES = {
    "digits": 10,
    "mnist": 10,
    "fashion_mnist": 10,
    "cifar10": 10,
    "horses_or_humans": 2,
}


def _anomalies(dataset, *, labels=(0, 1), images=(b"\x89PNG\xff", b"\xff\xd8\xff")):
    schema = tfdv.load_schema_text(str(schema_file(dataset)))
    columns = {"label": [[label] for label in labels], "name": [[b"a"], [b"\xff"]]}
    columns["image"] = [None if image is None else [image] for image in images]
    options = tfdv.StatsOptions(schema=schema)
    batch = pa.RecordBatch.from_arrays([pa.array(v) for v in columns.values()], list(columns))
    from tensorflow_data_validation.statistics import stats_impl

    statistics = stats_impl.generate_statistics_in_memory(batch, options)
    return set(tfdv.validate_statistics(statistics, schema).anomaly_info)


@pytest.mark.parametrize("dataset", [*_CLASSES, "image_folder"])
def test_good_data_has_no_anomaly(dataset):
    assert _anomalies(dataset) == set()


@pytest.mark.parametrize(("dataset", "classes"), _CLASSES.items())
def test_labels_outside_the_range_are_anomalies(dataset, classes):
    assert _anomalies(dataset, labels=(0, classes - 1)) == set()
    assert _anomalies(dataset, labels=(0, classes)) == {"label"}
    assert _anomalies(dataset, labels=(0, -1)) == {"label"}


@pytest.mark.parametrize("dataset", [*_CLASSES, "image_folder"])
def test_a_missing_image_is_an_anomaly(dataset):
    assert _anomalies(dataset, images=(b"\x89PNG", None)) == {"image"}


def test_generic_schema_takes_any_label_from_minus_one():
    assert _anomalies("image_folder", labels=(-1, 10**6)) == set()
    assert _anomalies("image_folder", labels=(-2, 0)) == {"label"}


@pytest.mark.parametrize(("dataset", "classes"), _CLASSES.items())
def test_label_ranges_are_those_of_tfds(dataset, classes, tmp_path):
    data = DataSource(dataset, data_dir=str(tmp_path)).open()
    assert data.builder.info.features["label"].num_classes == classes
    assert isinstance(data.builder.info.features["image"], tfds.features.Image)


@pytest.mark.parametrize(
    ("dataset", "folder"),
    [
        ("mnist", "mnist"),
        ("mnist:3.0.1", "mnist"),
        ("cifar10", "cifar10"),
        ("kmnist", "image_folder"),
        ("", "image_folder"),
        ("photos/mnist", "image_folder"),
        ("./mnist", "image_folder"),
        ("/data/mnist/", "image_folder"),
    ],
)
def test_schema_file(dataset, folder):
    assert schema_file(dataset).parent.name == folder
    assert schema_file(dataset).is_file()
