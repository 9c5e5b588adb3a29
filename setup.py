"""Package metadata. The locked versions for Python 3.10 are in requirements-py310.lock."""

from pathlib import Path

from setuptools import find_packages, setup

# Beam is held back because Beam >= 2.66 dropped dill, which tfx-bsl 1.16 needs.
REQUIRES = [
    "tfx==1.16.0",
    "apache-beam>=2.61,<2.62",
    "tensorflow-probability[tf]==0.24.0",
    "tensorflow-datasets>=4.9.7",
    "tensorflow-serving-api>=2.16,<2.17",
    "tf-keras>=2.16,<2.17",
    "keras-tuner>=1.4.7,<1.5",
    "orjson>=3.9.7",
    "scikit-learn>=1.2",
    "pillow>=10",
    "click>=8.1",
    "rich>=13",
    "matplotlib>=3.7",
    "pyyaml>=6",
]

setup(
    name="tfx-vae",
    version="0.1.0",
    description="A production TFX pipeline for VAEs: a TFDS data set in, a served decoder out.",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.11",
    packages=find_packages(include=["components*", "pipelines*", "serving*", "schemas*"]),
    package_data={
        "pipelines": ["recipes/*.yaml"],
        "schemas": ["*/schema.pbtxt"],
        "components.model_report": ["*.html"],
    },
    install_requires=REQUIRES,
    extras_require={
        "kubeflow": ["tfx[kfp]==1.16.0"],
        "dev": [
            "pytest>=8",
            "hypothesis>=6",
            "ruff>=0.6",
            # Clients and a parser that nobody here wrote, for the model server's tests.
            "httpx>=0.27",
            "requests>=2.31",
            "prometheus-client>=0.20",
            "setuptools>=69,<81",
            "wheel",
        ],
    },
    entry_points={"console_scripts": ["tfx-vae = pipelines.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
