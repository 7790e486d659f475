"""The ports that tests are given."""

from __future__ import annotations

import socket

import pytest

from tests.testbed.ports import Ports, free_port, of_process


def test_a_port_comes_again_only_after_all_the_others() -> None:
    some = [free_port() for _ in range(4)]
    ports = Ports(some)
    assert [ports.free() for _ in range(9)] == [*some, *some, some[0]]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_in_use_is_passed_over_and_comes_when_it_is_free_again(kind: socket.SocketKind) -> None:
    used, free = free_port(), free_port()
    ports = Ports([used, free])
    with socket.socket(socket.AF_INET, kind) as server:
        server.bind(("127.0.0.1", used))
        if kind == socket.SOCK_STREAM:
            server.listen()
        assert [ports.free() for _ in range(3)] == [free, free, free]
    assert {ports.free(), ports.free()} == {used, free}


def test_all_in_use_is_an_error() -> None:
    used = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", used))
        with pytest.raises(OSError, match="no free port"):
            Ports([used]).free()


def test_each_process_has_ports_of_its_own_and_no_port_is_nobodys() -> None:
    parts = [set(of_process(f"gw{number}", 3)) for number in range(3)]
    assert all(len(part) == 4_000 for part in parts)
    assert set.union(*parts) == set(of_process("gw0", 1)) == set(range(20_000, 32_000))
