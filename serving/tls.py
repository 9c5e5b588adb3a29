"""TLS for the gRPC port, from TF Serving's SSLConfig."""

from __future__ import annotations

import os

import grpc

from components.errors import InputError
from serving.config_messages import SSLConfig
from serving.text_proto import read_text_proto


def server_credentials(path: str | os.PathLike[str]) -> grpc.ServerCredentials:
    """Reads the key and certificates of a server; all of them are PEM texts inside the file.

    Args:
      path: An SSLConfig in text format.

    Returns:
      What gRPC needs; a wrong key shows only when the port is opened.

    Raises:
      InputError: The file cannot be read, or lacks something.
    """
    config = read_text_proto(path, SSLConfig)
    for name in ("server_key", "server_cert"):
        if "-----BEGIN " not in getattr(config, name):
            raise InputError(f"{path} has no PEM text as {name}; put it there.")
    if config.client_verify and not config.custom_ca:
        raise InputError(
            f"{path} asks for client_verify without a custom_ca; add the certificate of the "
            "authority that signs the clients' certificates."
        )
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )


def unusable(path: str | os.PathLike[str]) -> InputError:
    """Returns the error for a key or certificate that gRPC does not accept."""
    return InputError(
        f"The key or a certificate in {path} cannot be used; check that server_key belongs to "
        "server_cert and that all are PEM."
    )
