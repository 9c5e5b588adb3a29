"""The lock: complete, hashed, without addresses, and what is installed."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = (Path(__file__).parents[1] / "requirements-py310.lock").read_text(encoding="utf-8")
ENTRIES = re.split(r"\n(?=[a-z])", LOCK.strip())
VERSIONS = {
    canonicalize_name(name): version
    for name, version in (re.match(r"([^=]+)==(\S+)", entry).groups() for entry in ENTRIES)
}


def test_every_entry_has_a_version_and_a_hash():
    assert len(ENTRIES) == len(VERSIONS) > 200
    for entry in ENTRIES:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]


def test_the_lock_names_no_address():
    assert not re.search(r"https?://|file:|--(extra-)?index-url|--find-links", LOCK)


def test_the_lock_satisfies_what_the_package_asks_for():
    asked = [Requirement(text) for text in metadata.requires("tfx-vae")]
    assert {"tfx", "pytest"} <= {requirement.name for requirement in asked}
    for requirement in asked:
        version = VERSIONS[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} but {version} is locked"


@pytest.mark.parametrize("name", ["tensorflow", "tfx", "apache-beam", "tf-keras", "protobuf"])
def test_what_is_installed_is_what_is_locked(name):
    assert metadata.version(name) == VERSIONS[name]
