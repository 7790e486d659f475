"""Transactions: what is sent again when, and what came already (RFC 3261 section 17)."""

from __future__ import annotations

import itertools

import pytest
from sipmessage import Message, Request, Response

from agi_xmpp.sip.dialog import Dialog
from agi_xmpp.sip.timers import Timers
from agi_xmpp.sip.transactions import MAX_KEPT, TIMEOUT, Client, Failure, Server, Transactions
from agi_xmpp.sip.wire import parse, response
from tests.unit.clock import Clock
from tests.unit.sip.exchange import HERE, THERE, respond


class Layer:
    """Transactions on a clock, and all that they say."""

    def __init__(self) -> None:
        self.clock = Clock(0.0)
        self.timers = Timers(self.clock)
        self.sent: list[tuple[float, str]] = []
        self.datagrams: list[bytes] = []
        self.heard: list[int | Failure] = []
        self.requests: list[tuple[str, Server | None]] = []
        tokens = (f"t{number}" for number in itertools.count())
        self.it = Transactions(self.timers, self._send, HERE, lambda: next(tokens), self._take)

    def responded(self, response: Response) -> None:
        self.heard.append(response.code)

    def failed(self, failure: Failure) -> None:
        self.heard.append(failure)

    def ask(self, method: str, patience: float = TIMEOUT) -> Client:
        dialog = Dialog(
            call_id="c", local=HERE.uri("gw"), remote=THERE.uri("6000"), contact=HERE.uri(), tag="near", sequence=1
        )
        return self.it.request(dialog.request(method), self, patience)

    def answer(self, client: Client, code: int) -> None:
        message = parse(respond(client.request, code))
        assert isinstance(message, Response)
        self.it.receive_response(message)

    def come(self, method: str, branch: str = "z9hG4bKx", sequence: int = 1) -> None:
        lines = (
            f"{method} sip:gw@{HERE} SIP/2.0",
            f"Via: SIP/2.0/UDP {THERE}" + (f";branch={branch}" if branch else ""),
            "From: <sip:a@h>;tag=far",
            "To: <sip:gw@h>;tag=near",
            "Call-ID: c",
            f"CSeq: {sequence} {method}",
        )
        message = parse("\r\n".join([*lines, "", ""]).encode())
        assert isinstance(message, Request)
        self.it.receive_request(message)

    def run(self, until: float) -> None:
        while (at := self.timers.next_at()) is not None and at <= until:
            self.clock.now = at
            self.timers.run()
        self.clock.now = until

    def words(self) -> list[str]:
        return [word for _at, word in self.sent]

    def _send(self, datagram: bytes) -> None:
        self.datagrams.append(datagram)
        words = datagram.split(b"\r\n")[0].decode().split()
        self.sent.append((self.clock.now, words[1] if words[0] == "SIP/2.0" else words[0]))

    def _take(self, request: Request, server: Server | None) -> None:
        self.requests.append((request.method, server))


@pytest.fixture
def layer() -> Layer:
    return Layer()


def test_a_request_is_sent_again_as_the_rfc_says(layer):
    layer.ask("MESSAGE")
    layer.run(100)
    assert [at for at, _word in layer.sent] == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]  # timer E
    assert len(set(layer.datagrams)) == 1
    assert layer.heard == [Failure.SILENCE]
    assert layer.timers.next_at() is None


def test_an_invite_too(layer):
    layer.ask("INVITE")
    layer.run(100)
    assert [at for at, _word in layer.sent] == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]  # timer A
    assert layer.heard == [Failure.SILENCE]


@pytest.mark.parametrize(("patience", "end"), [(5, 5), (TIMEOUT, TIMEOUT), (100, TIMEOUT)])
def test_patience(layer, patience, end):
    layer.ask("MESSAGE", patience)
    layer.run(end - 0.01)
    assert layer.heard == []
    layer.run(end)
    assert layer.heard == [Failure.SILENCE]


def test_a_provisional_response_slows_it_down(layer):
    client = layer.ask("MESSAGE")
    layer.answer(client, 100)
    layer.run(9)
    assert [at for at, _word in layer.sent] == [0, 0.5, 4.5, 8.5]


def test_a_provisional_response_ends_the_tries_of_an_invite(layer):
    client = layer.ask("INVITE")
    layer.answer(client, 180)
    layer.run(100)
    assert layer.sent == [(0, "INVITE")]
    assert layer.heard == [180]
    assert client.heard


def test_an_answer_is_told_once(layer):
    client = layer.ask("MESSAGE")
    for _ in range(3):
        layer.answer(client, 202)
    layer.answer(client, 100)
    layer.run(100)
    assert layer.heard == [202]
    assert layer.words() == ["MESSAGE"]
    layer.answer(client, 202)
    assert layer.heard == [202]


def test_a_refused_invite_is_confirmed_each_time(layer):
    client = layer.ask("INVITE")
    for _ in range(3):
        layer.answer(client, 486)
    assert layer.heard == [486]
    assert layer.words() == ["INVITE", "ACK", "ACK", "ACK"]
    ack = Message.parse(layer.datagrams[-1])
    assert ack.headers["Via"] == client.request.headers["Via"]
    assert ack.headers["To"].endswith(";tag=far")
    layer.run(33)
    layer.answer(client, 486)
    assert len(layer.sent) == 4


def test_each_2xx_of_an_invite_is_told(layer):
    client = layer.ask("INVITE")
    layer.answer(client, 200)
    layer.answer(client, 200)
    layer.answer(client, 486)
    assert layer.heard == [200, 200]
    layer.run(100)
    layer.answer(client, 200)
    assert layer.heard == [200, 200]


def test_a_foreign_answer_is_dropped(layer):
    client = layer.ask("MESSAGE")
    message = parse(respond(client.request, 200).replace(b"branch=z9hG4bKt0", b"branch=z9hG4bKother"))
    assert isinstance(message, Response)
    layer.it.receive_response(message)
    message = parse(respond(client.request, 200).replace(b" MESSAGE", b" BYE"))
    assert isinstance(message, Response)
    layer.it.receive_response(message)
    assert layer.heard == []


@pytest.mark.parametrize(
    ("seconds", "answer", "failure"),
    [(0, None, Failure.UNREACHABLE), (0.6, None, Failure.SILENCE), (0, 100, Failure.SILENCE)],
)
def test_a_port_that_refuses(layer, seconds, answer, failure):
    client = layer.ask("MESSAGE")
    layer.run(seconds)
    if answer:
        layer.answer(client, answer)
    layer.it.refused()
    assert layer.heard[-1] is failure
    layer.it.refused()
    layer.run(100)
    assert [end for end in layer.heard if end != 100] == [failure]


def test_a_cancel_is_of_the_same_transaction(layer):
    client = layer.ask("INVITE")
    layer.answer(client, 180)
    layer.it.cancel(client, layer)
    cancel = Message.parse(layer.datagrams[-1])
    assert isinstance(cancel, Request)
    assert (cancel.method, str(cancel.uri)) == ("CANCEL", str(client.request.uri))
    assert cancel.headers["Via"] == client.request.headers["Via"]
    assert cancel.cseq.sequence == client.request.cseq.sequence


def test_a_request_is_taken_once_and_answered_each_time(layer):
    layer.come("MESSAGE")
    layer.come("MESSAGE")
    assert len(layer.requests) == 1
    assert layer.sent == []
    server = layer.requests[0][1]
    server.respond(response(server.request, 200))
    layer.come("MESSAGE")
    assert layer.words() == ["200", "200"]
    assert len(set(layer.datagrams)) == 1
    layer.run(33)
    layer.come("MESSAGE")
    assert len(layer.requests) == 2


def test_one_that_is_left_is_a_new_one_later(layer):
    layer.come("MESSAGE")
    layer.requests[0][1].ignore()
    layer.come("MESSAGE")
    assert len(layer.requests) == 2


def test_a_refusal_of_an_invite_is_sent_until_it_is_confirmed(layer):
    layer.come("INVITE")
    server = layer.requests[0][1]
    server.respond(response(server.request, 488))
    layer.run(3)
    assert [at for at, _word in layer.sent] == [0, 0.5, 1.5]
    layer.come("ACK")
    layer.run(100)
    assert len(layer.sent) == 3
    assert [method for method, _server in layer.requests] == ["INVITE", "ACK"]


def test_never_confirmed_it_ends(layer):
    layer.come("INVITE")
    server = layer.requests[0][1]
    server.respond(response(server.request, 488))
    layer.run(1000)
    assert layer.sent[-1][0] <= TIMEOUT
    assert layer.timers.next_at() is None


@pytest.mark.parametrize(("method", "code"), [("INVITE", "200"), ("MESSAGE", "481")])
def test_there_is_never_anything_to_cancel(layer, method, code):
    layer.come(method)
    layer.come("CANCEL")
    assert layer.words() == [code]


def test_the_oldest_answers_make_room(layer):
    for number in range(MAX_KEPT + 1):
        layer.come("MESSAGE", f"z9hG4bK{number}")
    layer.come("MESSAGE", f"z9hG4bK{MAX_KEPT}")
    assert len(layer.requests) == MAX_KEPT + 1
    layer.come("MESSAGE", "z9hG4bK0")
    assert len(layer.requests) == MAX_KEPT + 2


def test_without_a_branch_calls_and_numbers_tell_them_apart(layer):
    for number in (1, 2, 1):
        layer.come("MESSAGE", "", sequence=number)
    assert len(layer.requests) == 2
