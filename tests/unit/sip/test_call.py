"""A call: what goes over the wire, and what its owner is told."""

from __future__ import annotations

import itertools
from functools import partial

import pytest

from agi_xmpp.errors import SipError, SipNotReached, SipRefused, SipUnknown
from agi_xmpp.sip.call import GAP_WAIT, MAX_WAITING, REFRESH, Call
from tests.unit.sip.exchange import SDP, World

CONTACT = "Contact: <sip:127.0.0.1:5060>"
CHALLENGE = 'WWW-Authenticate: Digest realm="asterisk",nonce="n{n}",algorithm=MD5,qop="auth"'


class Said:
    """What became of texts, in the order in which it was told."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, SipError | None]] = []

    def say(self, call: Call, text: str, display: str = "Romeo") -> None:
        call.say(text, display, lambda error: self.ends.append((text, error)))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def said() -> Said:
    return Said()


class TestCalling:
    def test_it_calls_the_number_without_voice(self, world):
        _call, watch = world.call("6000", "Balcony")
        invite, ack = world.asterisk.requests
        assert (str(invite.uri), invite.from_address.name) == ("sip:6000@127.0.0.1:5060", "Balcony")
        assert b"a=inactive" in invite.body
        assert (ack.method, ack.cseq.sequence) == ("ACK", invite.cseq.sequence)
        assert watch.is_answered

    def test_a_lost_ack_is_sent_again_when_the_answer_comes_again(self, world):
        lost: list[bytes] = []
        receive = world.asterisk.receive
        world.asterisk.receive = lambda datagram: (
            lost.append(datagram) if datagram.startswith(b"ACK") and len(lost) < 2 else receive(datagram)
        )
        world.call()
        world.run(5)
        assert len(lost) == 2
        assert len(world.asterisk.came("ACK")) == 1

    def test_nobody_answers(self, world):
        world.asterisk.silent = True
        _call, watch = world.call()
        world.run(4.9)
        assert not watch.failures
        world.run(0.1)
        assert isinstance(watch.error, SipNotReached)
        assert world.methods() == ["INVITE"] * 4  # at 0, 0.5, 1.5 and 3.5 s (timer A)
        assert world.core.calls == 0

    def test_the_port_refuses(self, world):
        world.unreachable = True
        _call, watch = world.call()
        assert isinstance(watch.error, SipNotReached)
        assert "nobody listens" in str(watch.error)

    @pytest.mark.parametrize("code", [300, 404, 486, 503, 603])
    def test_it_is_refused(self, world, code):
        world.asterisk.answers["INVITE"] = lambda request: (code, [], b"")
        _call, watch = world.call()
        assert isinstance(watch.error, SipRefused)
        assert watch.error.code == code
        assert [request.method for request in world.asterisk.requests] == ["INVITE", "ACK"]
        assert world.core.calls == 0

    @pytest.mark.parametrize(
        ("headers", "taken"),
        [
            ([], True),
            (["Allow: INVITE, ACK, BYE, MESSAGE"], True),
            (["Allow: INVITE", "Allow: message"], True),
            (["Allow: INVITE, ACK, BYE"], False),
        ],
    )
    def test_asterisk_takes_texts_or_the_call_is_of_no_use(self, world, headers, taken):
        world.asterisk.answers["INVITE"] = lambda request: (
            200,
            [CONTACT, "Content-Type: application/sdp", *headers],
            SDP,
        )
        _call, watch = world.call()
        assert watch.is_answered is taken
        assert [request.method for request in world.asterisk.requests] == ["INVITE", "ACK", *([] if taken else ["BYE"])]
        assert world.core.calls == int(taken)
        if not taken:
            assert isinstance(watch.error, SipRefused)
            assert "load res_pjsip_messaging.so" in str(watch.error)

    def test_it_rings_and_nobody_takes_it(self, world):
        world.asterisk.answers["INVITE"] = lambda request: (180, [], b"")
        _call, watch = world.call()
        world.run(5)
        assert isinstance(watch.error, SipRefused)
        assert len(world.asterisk.came("CANCEL")) == 1
        world.run(60)
        assert world.core.calls == 0

    def test_it_is_taken_in_the_moment_in_which_it_is_given_up(self, world):
        world.asterisk.answers["INVITE"] = lambda request: (180, [], b"")
        call, watch = world.call()
        done = []
        call.hang_up(lambda: done.append(True))
        world.core.receive(  # the 200 crosses our CANCEL
            b"SIP/2.0 200 OK\r\n" + self._rest_of_answer(world) + b"Content-Length: 0\r\n\r\n"
        )
        world.run()
        assert [request.method for request in world.asterisk.requests] == ["INVITE", "CANCEL", "ACK", "BYE"]
        assert done == [True]
        assert not watch.is_answered
        assert world.core.calls == 0

    def test_hang_up_before_anything_was_heard_waits_for_a_sign(self, world):
        world.asterisk.answers["INVITE"] = lambda request: None
        call, _watch = world.call()
        call.hang_up(lambda: None)
        assert world.methods() == ["INVITE"]  # RFC 3261 section 9.1: no CANCEL before a provisional response
        world.run(6)
        assert world.core.calls == 0

    @staticmethod
    def _rest_of_answer(world: World) -> bytes:
        invite = world.asterisk.requests[0]
        names = ("Via", "From", "To", "Call-ID", "CSeq")
        lines = [f"{name}: {invite.headers[name]}{';tag=far' if name == 'To' else ''}" for name in names]
        return "".join(f"{line}\r\n" for line in lines).encode()


class TestPasswords:
    def test_a_challenge_is_answered(self):
        world = World(password="x")

        def invite(request):
            if request.authorization is None:
                return 401, [CHALLENGE.format(n=1)], b""
            return 200, [CONTACT], SDP

        world.asterisk.answers["INVITE"] = invite
        _call, watch = world.call()
        assert watch.is_answered
        first, _ack, second, _ack2 = world.asterisk.requests
        assert second.cseq.sequence == first.cseq.sequence + 1
        assert second.call_id == first.call_id

    def test_a_text_needs_no_second_challenge_and_gets_over_a_stale_one(self, said):
        world = World(password="x")
        asked = []

        def message(request):
            asked.append(request.authorization)
            if len(asked) == 2:
                return 401, [CHALLENGE.format(n=2) + ",stale=true"], b""
            return 202, [], b""

        def invite(request):
            return (401, [CHALLENGE.format(n=1)], b"") if request.authorization is None else (200, [CONTACT], SDP)

        world.asterisk.answers |= {"INVITE": invite, "MESSAGE": message}
        call, _watch = world.up()
        for text in ("one", "two", "three"):
            said.say(call, text)
        world.run()
        assert said.ends == [("one", None), ("two", None), ("three", None)]
        counts = [(answer.parameters["nonce"], answer.parameters["nc"]) for answer in asked]
        assert counts == [("n1", "00000002"), ("n1", "00000003"), ("n2", "00000001"), ("n2", "00000002")]

    def test_a_wrong_password_is_not_tried_again_and_again(self):
        world = World(password="wrong")
        world.asterisk.answers["INVITE"] = lambda request: (401, [CHALLENGE.format(n=1)], b"")
        _call, watch = world.call()
        assert isinstance(watch.error, SipRefused)
        assert watch.error.code == 401
        assert len(world.asterisk.came("INVITE")) == 2
        assert "wrong" not in str(watch.error)

    def test_endless_staleness_ends(self):
        world = World(password="x")
        world.asterisk.answers["INVITE"] = lambda request: (401, [CHALLENGE.format(n=1) + ",stale=true"], b"")
        _call, watch = world.call()
        assert watch.error is not None
        assert len(world.asterisk.came("INVITE")) == 4

    def test_no_password(self, world):
        world.asterisk.answers["INVITE"] = lambda request: (401, [CHALLENGE.format(n=1)], b"")
        _call, watch = world.call()
        assert len(world.asterisk.came("INVITE")) == 1
        assert "password" in str(watch.error)


class TestTexts:
    def test_one_after_the_other_with_their_speakers(self, world, said):
        call, _watch = world.up()
        said.say(call, "good evening ✓\nall", 'Ro"meo <x>')
        said.say(call, "hi", "Juliet")
        assert world.methods().count("MESSAGE") == 1
        world.run()
        assert world.asterisk.texts == [("Ro meo x", "good evening ✓\nall"), ("Juliet", "hi")]
        assert said.ends == [("good evening ✓\nall", None), ("hi", None)]

    def test_a_long_one_goes_in_parts_and_nothing_comes_between(self, world, said):
        call, _watch = world.up()
        said.say(call, "word " * 1500)
        said.say(call, "short")
        world.run()
        bodies = [body for _display, body in world.asterisk.texts]
        assert [body[:6] for body in bodies] == ["(1/3) ", "(2/3) ", "(3/3) ", "short"]
        assert "".join(body[6:] for body in bodies[:3]) == "word " * 1500

    @pytest.mark.parametrize("seed", range(3))
    def test_300_at_once_on_a_network_that_loses_and_doubles_a_fifth(self, seed, said):
        world = World(timeout=32, loss=0.2, seed=seed)
        _call, watch = call, _ = world.call()
        world.run(20)
        assert watch.is_answered
        for number in range(300):
            said.say(call, str(number))
        world.run(2000)
        assert said.ends == [(str(number), None) for number in range(300)]
        assert [body for _display, body in world.asterisk.texts] == [str(number) for number in range(300)]

    @pytest.mark.parametrize("seed", range(3))
    def test_300_from_asterisk_at_once_on_such_a_network(self, seed):
        world = World(timeout=32, loss=0.2, seed=seed)
        _call, watch = world.call()
        world.run(20)
        for number in range(300):
            world.later(number / 100, partial(world.asterisk.text, str(number)))
        world.run(100)
        texts = [text for _display, text in watch.texts]
        assert sorted(texts, key=int) == [str(number) for number in range(300)]
        # What was lost several times in a row is late: it would have kept all others waiting.
        late = sum(int(later) < int(earlier) for earlier, later in itertools.pairwise(texts))
        assert late < 30

    def test_a_refused_one_does_not_stop_the_next(self, world, said):
        world.asterisk.answers["MESSAGE"] = lambda request: (500 if request.body == b"bad" else 202, [], b"")
        call, watch = world.up()
        for text in ("bad", "good"):
            said.say(call, text)
        world.run()
        (_bad, error), (_good, none) = said.ends
        assert isinstance(error, SipRefused)
        assert error.code == 500
        assert none is None
        assert not watch.reason

    def test_silence_leaves_it_unknown_and_ends_the_call(self, world, said):
        call, watch = world.up()
        world.asterisk.silent = True
        for text in ("one", "two"):
            said.say(call, text)
        world.run(5)
        assert [type(error) for _text, error in said.ends] == [SipUnknown, SipNotReached]
        assert watch.reason
        assert world.methods()[-1] == "BYE"

    def test_a_part_that_was_sent_leaves_the_whole_unknown(self, world, said):
        world.asterisk.answers["MESSAGE"] = lambda request: (202 if request.body[:2] == b"(1" else 481, [], b"")
        call, watch = world.up()
        said.say(call, "x" * 4000)
        world.run()
        assert isinstance(said.ends[0][1], SipUnknown)
        assert "1 of 2" in str(said.ends[0][1])
        assert watch.reason

    def test_asterisk_knows_the_call_no_more(self, world, said):
        world.asterisk.answers["MESSAGE"] = lambda request: (481, [], b"")
        call, watch = world.up()
        said.say(call, "x")
        world.run()
        assert isinstance(said.ends[0][1], SipNotReached)
        assert "restarted" in watch.reason
        assert "BYE" not in world.methods()
        said.say(call, "y")
        assert isinstance(said.ends[1][1], SipNotReached)

    def test_the_port_refuses_meanwhile(self, world, said):
        call, watch = world.up()
        world.unreachable = True
        said.say(call, "x")
        world.run()
        assert isinstance(said.ends[0][1], SipNotReached)
        assert "nobody listens" in watch.reason

    @pytest.mark.parametrize(("number", "refused"), [(MAX_WAITING - 1, 0), (MAX_WAITING, 0), (MAX_WAITING + 1, 1)])
    def test_how_many_may_wait(self, world, said, number, refused):
        call, _watch = world.up()
        for index in range(number):
            said.say(call, str(index))
        assert len(said.ends) == refused
        assert all(isinstance(error, SipNotReached) for _text, error in said.ends)

    def test_what_waits_at_the_end_was_not_sent(self, world, said):
        call, watch = world.up()
        for text in ("one", "two"):
            said.say(call, text)
        call.hang_up(lambda: None)
        assert [type(error) for _text, error in said.ends] == [SipUnknown, SipNotReached]
        world.run()
        assert not watch.reason
        assert len(said.ends) == 2


class TestWhatComes:
    def test_a_text(self, world):
        _call, watch = world.up()
        world.asterisk.text("hé\r\nyou", "Alice A")
        world.run()
        assert watch.texts == [("Alice A", "hé\nyou")]
        assert world.asterisk.responses == [("MESSAGE", 200)]

    def test_each_once_however_often_it_comes(self, world):
        _call, watch = world.up()
        datagram = world.asterisk.request("MESSAGE", 5, "z9hG4bKx", b"hi", "Content-Type: text/plain")
        for _ in range(5):
            world.core.receive(datagram)
        assert watch.texts == [("", "hi")]
        assert world.methods().count("200") == 5

    def test_also_after_its_transaction_was_forgotten(self, world):
        _call, watch = world.up()
        for branch in ("z9hG4bKx", "z9hG4bKy"):
            world.core.receive(world.asterisk.request("MESSAGE", 5, branch, b"hi", "Content-Type: text/plain"))
        assert watch.texts == [("", "hi")]
        assert world.methods().count("200") == 2

    def test_one_that_was_overtaken_comes_first(self, world):
        _call, watch = world.up()

        def text(number):
            world.core.receive(world.asterisk.request("MESSAGE", number, f"z9hG4bK{number}", str(number).encode()))

        for number in (5, 7, 8):
            text(number)
        assert [text for _display, text in watch.texts] == ["5"]
        text(6)
        assert [text for _display, text in watch.texts] == ["5", "6", "7", "8"]

    def test_one_that_does_not_come_is_not_waited_for_without_end(self, world):
        _call, watch = world.up()
        for number in (5, 7):
            world.core.receive(world.asterisk.request("MESSAGE", number, f"z9hG4bK{number}", str(number).encode()))
        world.run(GAP_WAIT - 0.1)
        assert len(watch.texts) == 1
        world.run(0.2)
        assert len(watch.texts) == 2
        world.core.receive(world.asterisk.request("MESSAGE", 6, "z9hG4bK6", b"6"))
        assert [text for _display, text in watch.texts] == ["5", "7", "6"]

    def test_what_waits_is_told_before_the_end(self, world):
        _call, watch = world.up()
        for number in (5, 7):
            world.core.receive(world.asterisk.request("MESSAGE", number, f"z9hG4bK{number}", str(number).encode()))
        world.core.receive(world.asterisk.request("BYE", 8, "z9hG4bK8"))
        assert [text for _display, text in watch.texts] == ["5", "7"]
        assert watch.reason == "Asterisk has hung up"
        assert world.core.calls == 0

    def test_what_waits_is_told_also_when_asterisk_is_gone(self, world, said):
        call, watch = world.up()
        for number in (5, 7):
            world.core.receive(world.asterisk.request("MESSAGE", number, f"z9hG4bK{number}", str(number).encode()))
        world.unreachable = True
        said.say(call, "anybody there?")
        world.run()
        assert [text for _display, text in watch.texts] == ["5", "7"]
        assert watch.reason.startswith("nobody listens")

    def test_what_waits_is_told_also_when_we_hang_up(self, world):
        call, watch = world.up()
        for number in (5, 7):
            world.core.receive(world.asterisk.request("MESSAGE", number, f"z9hG4bK{number}", str(number).encode()))
        call.hang_up(lambda: None)
        world.run()
        assert [text for _display, text in watch.texts] == ["5", "7"]
        assert world.core.calls == 0

    def test_a_text_that_overtakes_the_answer_to_our_call_is_not_lost(self, world):
        world.asterisk.answers["INVITE"] = lambda request: (100, [], b"")
        _call, watch = world.call()
        world.asterisk.text("early")
        world.run(0.4)
        assert watch.texts == []
        world.core.receive(b"SIP/2.0 200 OK\r\n" + TestCalling._rest_of_answer(world) + b"Content-Length: 0\r\n\r\n")
        world.run(1)
        assert watch.texts == [("Alice", "early")]

    @pytest.mark.parametrize(
        ("method", "code"),
        [("INFO", 200), ("OPTIONS", 200), ("NOTIFY", 501), ("REFER", 501), ("SUBSCRIBE", 501), ("XYZZY", 501)],
    )
    def test_other_requests(self, world, method, code):
        _call, watch = world.up()
        world.asterisk.ask(method)
        world.run()
        assert world.asterisk.responses == [(method, code)]
        assert not watch.reason

    def test_a_packed_body_is_refused(self, world):
        _call, watch = world.up()
        world.asterisk.ask("MESSAGE", b"x", "Content-Encoding: gzip")
        world.run()
        assert world.asterisk.responses == [("MESSAGE", 415)]
        assert watch.texts == []

    def test_no_text_for_people_is_told(self, world):
        _call, watch = world.up()
        world.asterisk.text("<x/>", content_type="application/im-iscomposing+xml")
        world.asterisk.text(" \r\n")
        world.run()
        assert world.asterisk.responses == [("MESSAGE", 200)] * 2
        assert watch.texts == []

    def test_what_we_cannot_do_is_not_done(self, world):
        _call, _watch = world.up()
        world.asterisk.ask("UPDATE", b"", "Require: timer, precondition")
        world.run()
        assert world.asterisk.responses == [("UPDATE", 420)]

    @pytest.mark.parametrize("tags", [("other", "t2"), ("far", "other")])
    def test_another_dialog(self, world, tags):
        _call, watch = world.up()
        world.asterisk.ask("BYE", tags=tags)
        world.run()
        assert world.asterisk.responses == [("BYE", 481)]
        assert not watch.reason


class TestChanges:
    def test_a_reinvite_is_answered_without_voice_until_it_is_confirmed(self, world):
        _call, watch = world.up()
        world.asterisk.ask("INVITE", SDP.replace(b"inactive", b"sendrecv"), "Content-Type: application/sdp")
        world.run()
        assert world.asterisk.responses == [("INVITE", 200)]
        assert b"a=inactive" in world.sent[-1]
        world.run(5)
        assert world.methods().count("200") == 1
        assert not watch.reason

    def test_one_without_an_offer_gets_ours(self, world):
        _call, _watch = world.up()
        world.asterisk.ask("INVITE")
        world.run()
        assert b"m=audio 9 RTP/AVP 0 8" in world.sent[-1]

    def test_an_answer_that_is_never_confirmed_ends_the_call(self, world):
        _call, watch = world.up()
        world.core.receive(world.asterisk.request("INVITE", 101, "z9hG4bKi", SDP))
        world.asterisk.silent = False
        world.run(40)
        assert world.methods().count("200") > 5
        assert "confirm" in watch.reason

    def test_a_second_one_meanwhile_waits(self, world):
        _call, _watch = world.up()
        for number in (101, 102):
            world.core.receive(world.asterisk.request("INVITE", number, f"z9hG4bKi{number}", SDP))
        assert world.methods()[-1] == "491"

    def test_an_offer_without_audio_is_refused(self, world):
        _call, watch = world.up()
        world.asterisk.ask("UPDATE", SDP.replace(b"audio", b"image"), "Content-Type: application/sdp")
        world.run()
        assert world.asterisk.responses == [("UPDATE", 488)]
        assert not watch.reason

    def test_requests_go_to_the_new_contact(self, world, said):
        call, _watch = world.up()
        world.asterisk.ask("UPDATE", b"", "Contact: <sip:other@127.0.0.9:5090>")
        world.run()
        said.say(call, "x")
        world.run()
        assert str(world.asterisk.requests[-1].uri) == "sip:other@127.0.0.9:5090"


class TestStillThere:
    def test_it_is_refreshed(self, world):
        world.asterisk.answers |= {
            name: lambda request: (200, [CONTACT, "Session-Expires: 90;refresher=uac"], b"")
            for name in ("INVITE", "UPDATE")
        }
        _call, watch = world.up()
        world.run(10 * REFRESH)
        updates = world.asterisk.came("UPDATE")
        assert len(updates) == 10
        assert updates[0].headers["Session-Expires"] == "90;refresher=uac"
        assert not watch.reason

    def test_a_restart_is_noticed(self, world):
        _call, watch = world.up()
        world.asterisk.answers["UPDATE"] = lambda request: (481, [], b"")
        world.run(REFRESH + 0.1)
        assert "restarted" in watch.reason

    def test_a_stopped_one_too(self, world):
        _call, watch = world.up()
        world.unreachable = True
        world.run(REFRESH + 0.1)
        assert "nobody listens" in watch.reason

    def test_a_silent_one_too(self, world):
        _call, watch = world.up()
        world.asterisk.silent = True
        world.run(REFRESH + 5)
        assert "did not answer" in watch.reason
        assert world.methods()[-1] == "BYE"

    def test_a_refresh_that_is_refused_for_now_is_tried_again(self, world):
        _call, watch = world.up()
        world.asterisk.answers["UPDATE"] = lambda request: (491, [], b"")
        world.run(REFRESH * 3 + 0.1)
        assert len(world.asterisk.came("UPDATE")) == 3
        assert not watch.reason

    def test_asterisk_refreshes_or_the_call_ends(self, world):
        world.asterisk.answers["INVITE"] = lambda request: (200, [CONTACT, "Session-Expires: 90;refresher=uas"], b"")
        world.asterisk.answers["UPDATE"] = lambda request: (491, [], b"")
        _call, watch = world.up()
        world.run(50)
        world.asterisk.ask("UPDATE", b"", "Session-Expires: 90;refresher=uac")
        world.run(59)
        assert not watch.reason
        world.run(2)
        assert "refresh" in watch.reason

    def test_the_role_that_the_other_side_wants_is_confirmed(self, world):
        _call, _watch = world.up()
        world.asterisk.ask("UPDATE", b"", "Session-Expires: 90;refresher=uac")
        world.run()
        assert b"Session-Expires: 90;refresher=uac" in world.sent[-1]
        assert b"Require: timer" in world.sent[-1]

    def test_an_interval_that_is_too_short(self, world):
        _call, _watch = world.up()
        world.asterisk.ask("UPDATE", b"", "x: 89")
        world.run()
        assert world.asterisk.responses == [("UPDATE", 422)]
        assert b"Min-SE: 90" in world.sent[-1]

    def test_asterisk_wants_a_longer_one(self, world):
        def invite(request):
            if request.headers["Session-Expires"].startswith("90"):
                return 422, ["Min-SE: 120"], b""
            return 200, [CONTACT, "Session-Expires: 120;refresher=uac"], b""

        world.asterisk.answers["INVITE"] = invite
        world.up()
        assert [request.headers["Session-Expires"][:3] for request in world.asterisk.came("INVITE")] == ["90;", "120"]

    def test_one_that_is_never_content_is_asked_twice(self, world):
        world.asterisk.answers["INVITE"] = lambda request: (422, ["Min-SE: 120"], b"")
        _call, watch = world.call()
        assert len(world.asterisk.came("INVITE")) == 2
        assert isinstance(watch.error, SipRefused)


class TestHangingUp:
    def test_it_ends(self, world):
        call, watch = world.up()
        done = []
        call.hang_up(lambda: done.append(1))
        call.hang_up(lambda: done.append(2))
        world.run()
        call.hang_up(lambda: done.append(3))
        assert done == [1, 2, 3]
        assert len(world.asterisk.came("BYE")) == 1
        assert not watch.reason
        assert world.core.calls == 0

    def test_also_if_asterisk_is_gone(self, world):
        call, _watch = world.up()
        world.asterisk.silent = True
        done = []
        call.hang_up(lambda: done.append(1))
        world.run(5)
        assert done == [1]

    def test_an_answer_to_our_call_that_comes_late_is_confirmed_and_no_more(self, world):
        call, _watch = world.up()
        call.hang_up(lambda: None)
        world.core.receive(b"SIP/2.0 200 OK\r\n" + TestCalling._rest_of_answer(world) + b"Content-Length: 0\r\n\r\n")
        assert world.methods() == ["INVITE", "ACK", "BYE", "ACK"]

    def test_both_at_once(self, world):
        call, watch = world.up()
        world.asterisk.ask("BYE")
        call.hang_up(lambda: None)
        world.run()
        assert world.asterisk.responses == [("BYE", 200)]
        assert not watch.reason
        assert world.core.calls == 0
