"""Addresses to listen on: TCP ports and UNIX sockets, checked before a model is loaded."""

from __future__ import annotations

import errno
import os
import socket
import stat

from components.errors import InputError

# sockaddr_un of Linux has 108 bytes with the terminating zero.
_SOCKET_PATH_BYTES = 107


def address(host: str, port: int) -> str:
    """Returns `host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_can_listen(host: str, port: int, flag: str = "--port") -> None:
    """Tells why an address cannot be listened on.

    gRPC's own failure does not tell a port in use from an address of another machine.

    Args:
      host: A name or an address of this machine.
      port: A port; 0 stands for any free one.
      flag: Where the port came from.

    Raises:
      InputError: The port does not exist or is in use, or the address is not this machine's.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"Port {port} does not exist; give a {flag} from 0 to 65535.")
    try:
        family, kind, protocol, _, resolved = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As gRPC does, so that connections of a server that just ended do not count as its use.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(resolved)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise port_error(host, port, flag) from error
        raise InputError(
            f"Cannot listen on {address(host, port)} ({error.strerror}); "
            f"give another --host or {flag}."
        ) from error


def port_error(host: str, port: int, flag: str = "--port") -> InputError:
    """Returns the error for a port that another program has."""
    return InputError(
        f"Port {port} on {host} is in use; stop the program that listens there, "
        f"or give another {flag}."
    )


def check_can_listen_on_socket(path: str) -> None:
    """Tells why a UNIX socket cannot be listened on; a socket that nobody uses is replaced.

    Args:
      path: Where the socket shall be.

    Raises:
      InputError: The path is too long, is another program's, or is not a socket.
    """
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES:
        raise InputError(
            f"The path {path} is too long for a UNIX socket; give a --grpc_socket_path of at most "
            f"{_SOCKET_PATH_BYTES} bytes."
        )
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        if not os.path.isdir(os.path.dirname(path) or "."):
            raise InputError(
                f"The folder of {path} does not exist; make it, or correct --grpc_socket_path."
            ) from None
        return
    # gRPC would take the path from a program that listens there.
    with socket.socket(socket.AF_UNIX) as probe:
        if not stat.S_ISSOCK(mode) or probe.connect_ex(path) == 0:
            raise InputError(
                f"{path} is in use; stop the program that listens there, or give another "
                "--grpc_socket_path."
            )
