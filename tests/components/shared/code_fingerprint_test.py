import re
import sys

import pytest

from components.code_fingerprint import code_fingerprint
from components.errors import InputError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a module, a subpackage and a neighbour; importing any of them fails."""
    sources = {
        "fingerprinted/__init__.py": "",
        "fingerprinted/a.py": "raise RuntimeError('imported')\n",
        "fingerprinted/deep/__init__.py": "",
        "fingerprinted/deep/b.py": "raise RuntimeError('imported')\n",
        "neighbour.py": "raise RuntimeError('imported')\n",
    }
    for name, text in sources.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "fingerprinted"]:
        del sys.modules[name]


def test_is_sixteen_hexadecimal_digits_and_stable(package):
    first = code_fingerprint("fingerprinted")
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert code_fingerprint("fingerprinted") == first
    assert "fingerprinted.a" not in sys.modules


@pytest.mark.parametrize("name", ["a.py", "deep/b.py", "__init__.py"])
def test_an_edited_file_changes_it(package, name):
    before = code_fingerprint("fingerprinted")
    path = package / "fingerprinted" / name
    path.write_text(path.read_text() + "# edited\n")
    assert code_fingerprint("fingerprinted") != before


def test_a_new_removed_or_renamed_file_changes_it(package):
    folder = package / "fingerprinted"
    seen = [code_fingerprint("fingerprinted")]
    (folder / "c.py").write_text("")
    seen.append(code_fingerprint("fingerprinted"))
    (folder / "c.py").rename(folder / "d.py")
    seen.append(code_fingerprint("fingerprinted"))
    (folder / "d.py").rename(folder / "deep" / "d.py")
    seen.append(code_fingerprint("fingerprinted"))
    assert len(set(seen)) == 4
    (folder / "deep" / "d.py").unlink()
    assert code_fingerprint("fingerprinted") == seen[0]


def test_other_files_do_not_change_it(package):
    before = code_fingerprint("fingerprinted")
    (package / "fingerprinted" / "README.md").write_text("x")
    (package / "fingerprinted" / "__pycache__").mkdir()
    (package / "fingerprinted" / "__pycache__" / "a.cpython-310.pyc").write_bytes(b"x")
    (package / "neighbour.py").write_text("x = 1\n")
    assert code_fingerprint("fingerprinted") == before


def test_the_place_does_not_change_it(package, tmp_path_factory, monkeypatch):
    before = code_fingerprint("fingerprinted")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (package / "fingerprinted").rename(elsewhere / "fingerprinted")
    monkeypatch.syspath_prepend(str(elsewhere))
    assert code_fingerprint("fingerprinted") == before


def test_a_module_stands_for_its_file_alone(package):
    before = code_fingerprint("fingerprinted.a")
    (package / "fingerprinted" / "deep" / "b.py").write_text("")
    assert code_fingerprint("fingerprinted.a") == before
    (package / "fingerprinted" / "a.py").write_text("")
    assert code_fingerprint("fingerprinted.a") != before


def test_several_packages_in_any_order(package):
    both = code_fingerprint("fingerprinted", "neighbour")
    assert both == code_fingerprint("neighbour", "fingerprinted")
    assert both not in (code_fingerprint("fingerprinted"), code_fingerprint("neighbour"))
    (package / "neighbour.py").write_text("x = 1\n")
    assert code_fingerprint("fingerprinted", "neighbour") != both


@pytest.mark.parametrize("name", ["no_such_package", "no_such_package.sub", "fingerprinted.none"])
def test_unknown_name(package, name):
    with pytest.raises(InputError, match=f"No source found for '{name}'; is it an importable"):
        code_fingerprint(name)


def test_a_folder_without_init_is_not_a_package(package):
    (package / "loose").mkdir()
    with pytest.raises(InputError, match="No source found for 'loose'"):
        code_fingerprint("loose")
