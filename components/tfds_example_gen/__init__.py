"""TFDS data set or image folder -> `Examples`: encoded images, labels and names."""

from components.tfds_example_gen.source import DataSource

__all__ = ["DataSource", "TfdsExampleGen"]


def __getattr__(name: str):
    # TFX takes seconds to import, and a DataSource does not need it.
    if name == "TfdsExampleGen":
        from components.tfds_example_gen.component import TfdsExampleGen

        return TfdsExampleGen
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
