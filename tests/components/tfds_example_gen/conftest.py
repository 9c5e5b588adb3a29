import pytest


@pytest.fixture(scope="session")
def digits_dir(tmp_path_factory):
    """A TFDS data_dir with our digits prepared in it."""
    from components.tfds_example_gen import DataSource

    folder = tmp_path_factory.mktemp("tfds")
    DataSource("digits", data_dir=str(folder)).prepare()
    return str(folder)
