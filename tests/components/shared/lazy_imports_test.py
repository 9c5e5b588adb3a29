import subprocess
import sys

import pytest

from components.lazy_exports import lazy_exports

_HEAVY = ["tensorflow", "tf_keras", "tfx", "apache_beam", "tensorflow_datasets", "grpc"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "lazily"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from components.lazy_exports import lazy_exports\n"
        "__all__ = ['Thing']\n"
        "__getattr__ = lazy_exports(__name__, {'Thing': 'heavy', 'Gone': 'heavy'})\n"
    )
    (folder / "heavy.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("lazily", "lazily.heavy"):
        sys.modules.pop(name, None)


def test_a_name_imports_its_module_on_first_use(package):
    import lazily

    assert "lazily.heavy" not in sys.modules
    assert lazily.Thing is sys.modules["lazily.heavy"].Thing
    from lazily import Thing

    assert Thing is lazily.Thing


def test_a_star_import_gives_the_exports(package):
    names = {}
    exec("from lazily import *", names)
    assert names["Thing"] is sys.modules["lazily.heavy"].Thing


def test_unknown_names():
    getter = lazy_exports("some.package", {"Thing": "heavy"})
    with pytest.raises(AttributeError, match=r"module 'some.package' has no attribute 'Thign'"):
        getter("Thign")


def test_a_name_that_its_module_lacks(package):
    import lazily

    with pytest.raises(AttributeError, match=r"'lazily.heavy' has no attribute 'Gone'"):
        _ = lazily.Gone


def _heavy_modules_after(code):
    """Which heavy packages a fresh interpreter has loaded after some code."""
    script = f"import sys\n{code}\nprint([name for name in {_HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "code",
    [
        "import components.image_binarizer, components.trainer, pipelines.recipe",
        "import pipelines.cli",
        "from components.image_binarizer import ImageFormat; ImageFormat(28, 28, 1, 'threshold')",
        "from pipelines.recipe import Recipe",
    ],
)
def test_imports_stay_light(code):
    assert _heavy_modules_after(code) == "[]"


def test_a_heavy_import_would_be_reported():
    # Guards the test above: were nothing ever reported, it could not fail.
    assert _heavy_modules_after("import grpc") == "['grpc']"
