"""`python -m pipelines`, the same as `tfx-vae`."""

from pipelines.cli import main

main()
