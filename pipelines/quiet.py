"""Keeps the logs of TensorFlow, Beam and Google libraries off a user's screen."""

import logging
import os
import warnings


def set_verbosity(verbose: bool) -> None:
    """Chooses what is logged; call it before TensorFlow is imported.

    Args:
      verbose: Whether libraries may log at level INFO; otherwise only critical errors are shown.
    """
    if verbose:
        logging.basicConfig(level=logging.INFO, force=True)
        return
    # Child processes, such as the server that validates a decoder, inherit these.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    warnings.simplefilter("ignore")
    # Libraries reset the filters and levels of their own loggers; the root's switch holds.
    logging.disable(logging.ERROR)
