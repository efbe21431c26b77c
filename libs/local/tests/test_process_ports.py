import errno
import os
import socket

import pytest

from clarion_local.ports import LOOPBACK, PortLease, free_ports


def test_leased_port_cannot_be_bound_until_it_is_handed_over() -> None:
    with PortLease() as lease, socket.socket() as other:
        with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
            other.bind((LOOPBACK, lease.port))

        other.bind((LOOPBACK, lease.hand_over()))


def test_port_that_was_handed_over_is_nobody_elses_for_a_while() -> None:
    ports = [*free_ports(300), *free_ports(300)]

    assert len(set(ports)) == len(ports)


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20
