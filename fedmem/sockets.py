"""Sockets bound to an address, by whoever is to listen there or only asks whether it can."""

import socket
from ipaddress import ip_address


def bound_socket(host: str, port: int) -> socket.socket:
    """Open a TCP socket bound to an address of IPv4 or IPv6; port 0 takes a free one.

    Raises:
        OSError: if the port is in use or the address is not this machine's.
    """
    # Only of a socket that names its protocol does asyncio switch off Nagle's algorithm, by which the body of an answer
    # waits 40 ms for the client to acknowledge the head.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches what listens at an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
