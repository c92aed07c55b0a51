"""A socket bound to an address, or the reason why there is none."""

import socket

import pytest

from fedmem.sockets import bound_socket


def test_port_0_takes_a_free_one_that_listens_at_once():
    with bound_socket("127.0.0.1", 0) as bound:
        bound.listen()
        with socket.create_connection(bound.getsockname(), timeout=10):
            pass


def test_a_port_in_use_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            bound_socket("127.0.0.1", port)


def test_a_colon_means_ipv6():
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with bound_socket("::1", 0) as bound:
        assert bound.family is socket.AF_INET6
