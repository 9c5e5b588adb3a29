"""Applies a model configuration file again when it changes."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from tensorflow_serving.config import model_server_config_pb2

from components.errors import InputError
from serving.config_reloader import ConfigReloader
from serving.status import StatusError
from serving.text_proto import read_text_proto

_LOG = logging.getLogger(__name__)


class ConfigFileWatcher:
    """Reads the file from time to time, and reloads what differs from what is in effect.

    The file wins over a configuration that came by HandleReloadConfigRequest, as in TF Serving.
    """

    def __init__(self, path: Path, reloader: ConfigReloader, poll_wait_seconds: float):
        self._path = path
        self._reloader = reloader
        self._poll_wait_seconds = poll_wait_seconds
        self._stopping = threading.Event()
        self._last_complaint = ""
        self._thread = threading.Thread(target=self._watch, name="watch-config", daemon=True)

    def start(self) -> None:
        """Reads the file in a thread until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, when a reload that it may be doing has ended."""
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(self._poll_wait_seconds):
            try:
                config = read_text_proto(self._path, model_server_config_pb2.ModelServerConfig)
                if config != self._reloader.config:
                    self._reloader.reload(config)
                self._last_complaint = ""
            except InputError as error:
                self._complain(f"Failed to read ModelServerConfig file: {error}")
            except StatusError as error:
                self._complain(
                    f"PollFilesystemAndReloadConfig failed to ReloadConfig: {error.message}"
                )
            except Exception:
                # A thread that dies here would leave a server that ignores its file.
                _LOG.exception("Reloading %s failed; trying again.", self._path)

    def _complain(self, text: str) -> None:
        """Logs a condition when it begins, not at every look."""
        if text != self._last_complaint:
            self._last_complaint = text
            _LOG.warning("%s", text)
