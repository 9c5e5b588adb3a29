import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from components.errors import InputError
from components.tfds_example_gen import DataSource
from components.tfds_example_gen.tfds_data import TfdsData


class _FakeInfo:
    config_name = None

    def __init__(self, **features):
        self.features = tfds.features.FeaturesDict(features)


class _FakeBuilder:
    name = "fake"

    def __init__(self, **features):
        self.info = _FakeInfo(**features)


def _image():
    return tfds.features.Image(shape=(2, 2, 1))


def _classes():
    return tfds.features.ClassLabel(num_classes=2)


def _open(features, **kwargs):
    return TfdsData(_FakeBuilder(**features), kind="test", **kwargs)


def test_importing_a_source_does_not_import_tfx_or_tensorflow():
    code = (
        "import sys; from components.tfds_example_gen import DataSource; "
        "sys.exit(any(m in sys.modules for m in ('tfx', 'tensorflow', 'tensorflow_datasets')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_digits(digits_dir):
    source = DataSource("digits", data_dir=digits_dir)
    source.prepare()  # Again: nothing to do.
    assert source.describe() == {"name": "digits", "version": "1.0.0", "kind": "TFDS name"}
    assert source.split_sizes({"train": "train[:90%]", "eval": "train[90%:]"}) == {
        "train": 1617,
        "eval": 180,
    }
    images = tfds.as_numpy(tfds.builder("digits", data_dir=digits_dir).as_dataset(split="train"))
    pixels = np.stack([example["image"] for example in images])
    assert (pixels.shape, pixels.dtype, pixels.max()) == ((1797, 8, 8, 1), np.uint8, 255)


def test_digits_builder_survives_pickling_into_a_fresh_process(digits_dir, tmp_path):
    import dill

    file = tmp_path / "builder"
    file.write_bytes(dill.dumps(DataSource("digits", data_dir=digits_dir).open().builder))
    code = f"import dill; print(dill.load(open({str(file)!r}, 'rb')).info.splits['train'])"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "num_examples=1797" in done.stdout, done.stderr


def test_prepared_folder_is_the_same_data(digits_dir):
    by_name = DataSource("digits", data_dir=digits_dir)
    by_folder = DataSource(f"{digits_dir}/digits/1.0.0")
    by_folder.prepare()
    assert by_folder.describe()["kind"] == "prepared TFDS folder"
    assert by_folder.fingerprint() == by_name.fingerprint()


def test_fingerprint_of_a_name_changes_when_it_is_prepared(tmp_path):
    source = DataSource("digits", data_dir=str(tmp_path))
    before = source.fingerprint()
    assert list(tmp_path.iterdir()) == []
    source.prepare()
    assert source.fingerprint() != before


def test_sizes_of_unprepared_data(tmp_path):
    with pytest.raises(InputError, match="mnist is not prepared yet; prepare it first"):
        DataSource("mnist", data_dir=str(tmp_path)).split_sizes({"train": "train"})


def test_unknown_name_suggests_close_ones():
    with pytest.raises(InputError, match="'mnsit' is neither a TFDS name nor a folder; did you"):
        DataSource("mnsit").check()
    with pytest.raises(InputError, match=r"did you mean .*cifar10"):
        DataSource("cifr10:3.0.2").check()
    with pytest.raises(InputError, match="check its spelling"):
        DataSource("q7q7q7q7").check()


def test_wrong_version():
    with pytest.raises(InputError, match=r"cannot open 'mnist:9.9.9' .*only: 3.0.1\); correct"):
        DataSource("mnist:9.9.9").check()


def test_empty_name_and_missing_paths(tmp_path):
    with pytest.raises(InputError, match="name is empty"):
        DataSource("").check()
    with pytest.raises(InputError, match="There is no folder /does/not/exist; correct the path"):
        DataSource("/does/not/exist").check()
    missing = str(tmp_path / "absent")
    with pytest.raises(InputError, match=r"data_dir .*absent does not exist; create it"):
        DataSource("digits", data_dir=missing).check()
    with pytest.raises(InputError, match=r"manual_dir .*absent does not exist; put the original"):
        DataSource("mnist", manual_dir=missing).check()


def test_a_relative_folder_is_found_and_a_tfds_name_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "mnist"):
        (tmp_path / name / "a").mkdir(parents=True)
        (tmp_path / name / "a" / "1.png").write_bytes(b"never opened")
    assert DataSource("photos").describe()["kind"] == "image folder"
    assert DataSource("mnist").describe()["kind"] == "TFDS name"
    assert DataSource("./mnist").describe()["kind"] == "image folder"


def test_no_download(tmp_path):
    with pytest.raises(InputError, match=r"mnist:3.0.1 is not prepared in .* downloading is off"):
        DataSource("mnist", data_dir=str(tmp_path), download=False).prepare()


def test_manual_dir_without_the_files(tmp_path):
    source = DataSource("mnist", data_dir=str(tmp_path), manual_dir=str(tmp_path))
    with pytest.raises(InputError, match=r"holds no file of mnist; put t10k-images.* there"):
        source.prepare()


def test_wrong_checksum_is_one_line_and_leaves_nothing(tmp_path):
    manual, data = tmp_path / "manual", tmp_path / "data"
    manual.mkdir()
    data.mkdir()
    for part in ("train", "t10k"):
        for what in ("images-idx3", "labels-idx1"):
            (manual / f"{part}-{what}-ubyte.gz").write_bytes(b"not these bytes")
    source = DataSource("mnist", data_dir=str(data), manual_dir=str(manual))
    with pytest.raises(
        InputError, match=r"mnist:3.0.1 is not the one that TFDS registered"
    ) as info:
        source.prepare()
    assert "\n" not in str(info.value)
    assert not source.open().is_prepared()
    assert list((data / "mnist").iterdir()) == []


def test_failed_download_is_one_line(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise ConnectionError("Name or service\nnot known")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(InputError, match=r"mnist:3.0.1 \(ConnectionError: Name or service\)") as e:
        DataSource("mnist", data_dir=str(tmp_path)).prepare()
    assert "give it as manual_dir" in str(e.value)


def test_incomplete_prepared_data(digits_dir, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(f"{digits_dir}/digits/1.0.0", copy)
    DataSource(str(copy)).prepare()
    next(copy.glob("*tfrecord*")).unlink()
    with pytest.raises(InputError, match=r"incomplete \(digits-train.tfrecord.* is missing\)"):
        DataSource(str(copy)).prepare()


def test_damaged_description(tmp_path):
    (tmp_path / "dataset_info.json").write_text("{ half")
    with pytest.raises(InputError, match="Cannot read the prepared data set"):
        DataSource(str(tmp_path)).check()


def test_image_features():
    with pytest.raises(InputError, match="fake has no image feature; choose one"):
        _open({"text": tfds.features.Text()})
    with pytest.raises(InputError, match=r"several image features \(left, right\)"):
        _open({"left": _image(), "right": _image()})
    assert _open({"picture": _image(), "label": _classes()}).image_key == "picture"


def test_label_features():
    assert _open({"image": _image(), "kind": _classes()}).label_key == "kind"
    assert _open({"image": _image(), "label": np.int64}).label_key == "label"
    both = {"image": _image(), "fine": _classes(), "coarse": _classes()}
    with pytest.raises(InputError, match=r"several labels \(coarse, fine\).*--label-key"):
        _open(both)
    assert _open(both, label_key="fine").label_key == "fine"
    with pytest.raises(InputError, match=r"no integer feature 'x' .* choose from: coarse, fine"):
        _open(both, label_key="x")
    with pytest.raises(InputError, match="has no label; pass --unlabelled"):
        _open({"image": _image()})
    assert _open({"image": _image()}, unlabelled=True).label_key is None


def test_label_key_and_unlabelled_exclude_each_other():
    with pytest.raises(InputError, match="exclude each other"):
        DataSource("mnist", label_key="label", unlabelled=True).check()
