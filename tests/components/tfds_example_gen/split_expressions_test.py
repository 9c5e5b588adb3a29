import pytest

from components.errors import InputError
from components.tfds_example_gen import split_expressions
from components.tfds_example_gen.split_expressions import Slice

_INFOS = split_expressions.make_split_infos({"train": 10, "test": 4})


@pytest.mark.parametrize(
    ("expression", "slices"),
    [
        ("train", [Slice("train", 0, 10)]),
        ("train[:90%]", [Slice("train", 0, 9)]),
        ("train[90%:]", [Slice("train", 9, 10)]),
        ("train[-3:]", [Slice("train", 7, 10)]),
        ("train[2:5] + test", [Slice("train", 2, 5), Slice("test", 0, 4)]),
        ("all", [Slice("train", 0, 10), Slice("test", 0, 4)]),
    ],
)
def test_resolves(expression, slices):
    assert split_expressions.resolve_split(expression, _INFOS) == slices


@pytest.mark.parametrize("expression", ["", "train[", "train[:200%]", "train[1:2:3]", "all[:1]"])
def test_malformed(expression):
    with pytest.raises(InputError, match=r"is malformed; write it like .*Existing splits: test, "):
        split_expressions.resolve_split(expression, _INFOS)


def test_absent_split_names_those_that_exist():
    with pytest.raises(InputError, match=r"Unknown split 'eval'.*test \(4\), train \(10\)\.$"):
        split_expressions.resolve_split("eval", _INFOS)


def test_slice_beyond_the_split():
    with pytest.raises(InputError, match=r"cannot be read: .*10 examples.*train \(10\)"):
        split_expressions.resolve_split("train[:11]", _INFOS)


@pytest.mark.parametrize("expression", ["train[:1%]", "train[5:5]", "train[6:2]"])
def test_empty(expression):
    with pytest.raises(InputError, match="is empty; widen it"):
        split_expressions.resolve_split(expression, _INFOS)


def test_overlaps():
    resolved = {
        name: split_expressions.resolve_split(expression, _INFOS)
        for name, expression in {"a": "train[:6]", "b": "train[5:]", "c": "test"}.items()
    }
    assert split_expressions.find_overlaps(resolved) == [("a", "b")]
