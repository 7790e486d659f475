"""A SIP telephone that can also write: texts in a call (MESSAGE), on aiosipua, a library that the program does not use.

`tests.testbed.phone` is the telephone to speak with. This one sends no sound and counts the packets that it gets. What
aiosipua 0.7.1 leaves out is added here: MESSAGE, requests that are sent again until they are answered, and the ACK for
a call that is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.metadata
import re
import socket
from collections.abc import Callable, Mapping
from typing import TypeVar

from aiosipua import (
    Address,
    CSeq,
    Dialog,
    IncomingCall,
    OutgoingCall,
    SdpMessage,
    SipDigestAuth,
    SipRequest,
    SipResponse,
    SipTransport,
    SipUAC,
    SipUAS,
    Via,
    build_sdp,
    generate_branch,
    generate_call_id,
    generate_tag,
    negotiate_sdp,
    stringify_cseq,
    stringify_uri,
    stringify_via,
)
from aiosipua.auth import answer_challenge
from aiosipua.dialog import dialog_matches
from aiosipua.transaction import T1, T2

from tests.testbed.asterisk import Asterisk
from tests.testbed.errors import TestbedError
from tests.testbed.ports import free_port
from tests.testbed.program import journal

_T = TypeVar("_T")

_HOST = "127.0.0.1"
#: Seconds that a phone waits for what it is asked to wait for, if the test does not say.
TIMEOUT = 10.0
#: Seconds that a phone may take to hang up and sign off; Asterisk may be gone.
_SIGN_OFF = 1.0
#: Bytes that may wait for us. Linux has room for some 170 small datagrams by default, and loses the others of a burst.
_RECEIVE_BUFFER = 1 << 20
#: Datagrams that are taken at once.
_BATCH = 500
_ULAW = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """A text that a phone received.

    Attributes:
        display: the name in From; "" if there is none.
        sender: the address in From.
        body: as text.
        content_type: with its parameters.
        request: all of it.
    """

    display: str
    sender: str
    body: str
    content_type: str
    request: SipRequest = dataclasses.field(repr=False)


class SoftCall:
    """A call of a `Softphone`.

    Attributes:
        number: that was dialled; of an incoming call, that of the caller.
        invite: the INVITE, with the headers that it had.
        ended_by: why it is over, such as ``BYE``, ``CANCEL``; "" while it is not, or if the phone itself ended it.
    """

    def __init__(self, phone: Softphone, number: str, sip: IncomingCall | OutgoingCall) -> None:
        self.number = number
        self.ended_by = ""
        self._phone = phone
        self._sip = sip

    @property
    def id(self) -> str:
        """The SIP Call-ID."""
        return self._sip.call_id

    @property
    def invite(self) -> SipRequest:
        return self._sip.invite

    @property
    def caller(self) -> str:
        """The caller's name as an incoming call shows it; "" if there is none."""
        return _display(self.invite.from_addr)

    def header(self, name: str) -> str:
        """Return a header of the INVITE, or ""."""
        return self.invite.get_header(name) or ""

    async def answer(self) -> None:
        """Pick up."""
        assert isinstance(self._sip, IncomingCall), "it is our own call"
        self._phone.ringing.remove(self)
        self._sip.accept(self._phone.sdp_answer(self._sip))

    async def refuse(self, code: int = 486) -> None:
        """Do not take the call: ``486`` busy, ``603`` declined."""
        assert isinstance(self._sip, IncomingCall), "it is our own call"
        self._phone.ringing.remove(self)
        self._sip.reject(code, {486: "Busy Here", 603: "Decline"}.get(code, "Refused"))

    async def send(self, text: str, *, display: str = "", content_type: str = "text/plain;charset=UTF-8") -> int:
        """Send a text in the call and return Asterisk's answer (``202``).

        Args:
            text: the body.
            display: the name in From, whatever it is; "" for none.
            content_type: of the body.
        """
        response = await self.request("MESSAGE", display=display, headers={"Content-Type": content_type}, body=text)
        return response.status_code

    async def press(self, keys: str) -> None:
        """Press keys, one after the other, each by INFO; return when Asterisk has taken them."""
        for key in keys:
            response = await self.request(
                "INFO", headers={"Content-Type": "application/dtmf-relay"}, body=f"Signal={key}\r\nDuration=160\r\n"
            )
            assert response.status_code == 200, f"INFO: {response.status_code} {response.reason_phrase}"

    async def transfer(self, number: str) -> int:
        """Ask Asterisk to send the other side to a number (REFER) and return its answer."""
        return (await self.request("REFER", headers={"Refer-To": f"<{self._phone.uri(number)}>"})).status_code

    async def hang_up(self) -> None:
        """End the call."""
        self._phone.forget(self)
        response = await self.request("BYE")
        assert response.status_code == 200, f"BYE: {response.status_code} {response.reason_phrase}"

    async def ended(self, timeout: float = TIMEOUT) -> str:
        """Wait until the other side has ended the call, and return how: ``BYE`` or ``CANCEL``."""
        return await self._phone.until("see a call end", lambda: self.ended_by or None, timeout)

    async def request(
        self, method: str, *, display: str = "", headers: Mapping[str, str] | None = None, body: str = ""
    ) -> SipResponse:
        """Send a request in the call and return the final answer."""
        dialog = self._sip.dialog

        def build() -> SipRequest:
            request = dialog.create_request(method, via_host=_HOST, via_port=self._phone.port)
            if display:
                request.set_header("From", f"{_quoted(display)} <{dialog.local_uri}>;tag={dialog.local_tag}")
            request.set_header("Contact", f"<{self._phone.contact}>")
            return request

        return await self._phone.send(build, headers or {}, body)

    @property
    def dialog(self) -> Dialog:
        """Its tags and counters."""
        return self._sip.dialog


class Softphone:
    """A telephone that is registered. Use it by ``async with``.

    Args:
        exchange: an Asterisk with an endpoint of this name.
        number: name of the endpoint and of its AOR; the user in From.
        password: of the endpoint; "" if it has none.
        registers: whether it can be called; an endpoint without AOR cannot.

    Attributes:
        port: where it listens.
        texts: every text that it received, in order.
        ringing: the calls that ring.
        packets: how many RTP packets have come.
    """

    def __init__(self, exchange: Asterisk, number: str, password: str = "", *, registers: bool = True) -> None:
        self.number = number
        self.port = free_port()
        self.texts: list[Text] = []
        self.ringing: list[SoftCall] = []
        self.packets = 0
        self._exchange = exchange
        self._registers = registers
        self._auth = SipDigestAuth(number, password) if password else None
        self._transport = _Transport(local_addr=(_HOST, self.port))
        self._uac = SipUAC(self._transport)
        self._uas = SipUAS(self._transport, uac=self._uac)
        self._calls: dict[str, SoftCall] = {}
        self._unheard: list[Text] = []
        self._answers: dict[str, asyncio.Future[SipResponse]] = {}
        self._taken: dict[str, SipResponse] = {}
        self._refused: dict[str, SipRequest] = {}
        self._changed = asyncio.Event()
        self._stack = contextlib.AsyncExitStack()

    # What a person does

    async def call(self, number: str, timeout: float = TIMEOUT) -> SoftCall:
        """Dial, and return the call when it is answered.

        Raises:
            AssertionError: it was refused; the message has the answer, such as ``404 Not Found``.
        """
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        sip = self._uac.send_invite(
            self.uri(self.number),
            self.uri(number),
            self._asterisk,
            self._offer(),
            user_agent="testbed",
            auth=self._auth,
        )
        sip.on_answer = lambda _call: _settle(outcome, "")
        sip.on_rejected = lambda _call, code, reason: _settle(outcome, f"{code} {reason}")
        call = self._calls[sip.call_id] = SoftCall(self, number, sip)
        try:
            async with asyncio.timeout(timeout):
                refusal = await outcome
        except TimeoutError:
            raise AssertionError(self._failure(f"get an answer from {number}", timeout)) from None
        if refusal:
            del self._calls[sip.call_id]
        assert not refusal, f"phone {self.number} was refused by {number}: {refusal}"
        return call

    async def rings(self, timeout: float = TIMEOUT) -> SoftCall:
        """Wait until it rings, and return the call: the oldest, if there are several."""
        return await self.until("ring", lambda: next(iter(self.ringing), None), timeout)

    async def hears(
        self, wanted: str | Callable[[Text], bool] = "", *, display: str | None = None, timeout: float = TIMEOUT
    ) -> Text:
        """Wait for a text and return it; each is returned once.

        Args:
            wanted: the body, or a condition; "" for the next text.
            display: the name in From.
            timeout: seconds.
        """

        def matches(text: Text) -> bool:
            right = wanted(text) if callable(wanted) else wanted in ("", text.body)
            return right and display in (None, text.display)

        text = await self.until(
            f"hear {wanted!r} from {display!r}", lambda: next(filter(matches, self._unheard), None), timeout
        )
        self._unheard.remove(text)
        return text

    async def hears_nothing_until(self, wanted: str, timeout: float = TIMEOUT) -> Text:
        """Fail if another text comes before the one with the body ``wanted``."""
        text = await self.hears(timeout=timeout)
        assert text.body == wanted, f"phone {self.number} heard {text.body!r} before {wanted!r}"
        return text

    async def request(
        self, method: str, to: str, *, headers: Mapping[str, str] | None = None, body: str = ""
    ) -> SipResponse:
        """Send a request outside of any call and return the final answer.

        Args:
            method: such as ``SUBSCRIBE``, ``MESSAGE``, ``OPTIONS``.
            to: a number of the exchange.
            headers: besides the usual ones.
            body: as text.
        """
        call_id, tag, counter = generate_call_id(_HOST), generate_tag(), iter(range(1, 10))

        def build() -> SipRequest:
            to_uri = self.uri(to) if method != "REGISTER" else self.uri("")
            request = SipRequest(method=method, uri=to_uri)
            via = Via(host=_HOST, port=self.port, params={"branch": generate_branch(), "rport": None})
            request.add_header("Via", stringify_via(via))
            request.set_header("From", f"<{self.uri(self.number)}>;tag={tag}")
            request.set_header("To", f"<{self.uri(to)}>")
            request.set_header("Call-ID", call_id)
            request.set_header("CSeq", stringify_cseq(CSeq(next(counter), method)))
            request.set_header("Max-Forwards", "70")
            request.set_header("Contact", f"<{self.contact}>")
            return request

        return await self.send(build, headers or {}, body)

    async def lose_power(self) -> None:
        """Be off from one moment to the next: no call is ended, and nobody listens any more."""
        self._calls.clear()
        self._registers = False
        await self._stack.aclose()

    # For its calls

    @property
    def contact(self) -> str:
        """The address at which it is reached."""
        return f"sip:{self.number}@{_HOST}:{self.port}"

    def uri(self, number: str) -> str:
        """Return the address of a number at the exchange."""
        return f"sip:{number}{'@' if number else ''}{_HOST}:{self._exchange.sip_port}"

    async def send(self, build: Callable[[], SipRequest], headers: Mapping[str, str], body: str) -> SipResponse:
        """Send a request until it is answered (RFC 3261 section 17.1.2.2), with the password if it is asked for."""
        answer = await self._transact(_complete(build(), headers, body))
        if answer.status_code in (401, 407) and self._auth is not None:
            request = _complete(build(), headers, body)
            credentials = answer_challenge(self._auth, answer, answer.status_code, request.method, request.uri)
            assert credentials is not None, f"phone {self.number} cannot answer {answer.serialize()}"
            request.set_header(*credentials)
            answer = await self._transact(request)
        return answer

    def sdp_answer(self, call: IncomingCall) -> SdpMessage:
        """Return what it answers to what it was offered."""
        if call.sdp_offer is None:
            return self._offer()
        return negotiate_sdp(call.sdp_offer, _HOST, self._rtp_port, [_ULAW])[0]

    def forget(self, call: SoftCall) -> None:
        """It is over for us."""
        self._calls.pop(call.id, None)

    async def until(self, what: str, condition: Callable[[], _T | None], timeout: float) -> _T:
        """Wait until ``condition`` returns something, and return that.

        Raises:
            AssertionError: it does not; the message says ``what`` was expected.
        """
        try:
            async with asyncio.timeout(timeout):
                while (found := condition()) is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(self._failure(what, timeout)) from None
        return found

    # Life

    async def __aenter__(self) -> Softphone:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        try:
            async with asyncio.timeout(_SIGN_OFF):
                for call in list(self._calls.values()):
                    if call not in self.ringing:
                        await call.request("BYE")
                await self._register(0)
        except (TimeoutError, TestbedError):
            pass  # Asterisk is gone, or was started anew
        finally:
            await self._stack.aclose()

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        rtp, _ = await loop.create_datagram_endpoint(lambda: _Ear(self._take_sound), local_addr=(_HOST, 0))
        self._stack.callback(rtp.close)
        self._rtp_port: int = rtp.get_extra_info("sockname")[1]
        self._uas.on_invite = self._ring
        self._uas.on_reinvite = lambda call: call.accept(self.sdp_answer(call))
        self._uas.on_bye = lambda call, _request: self._over(call.call_id, "BYE")
        self._uas.on_cancel = lambda request, _address: self._over(request.call_id or "", "CANCEL")
        await self._uas.start()
        self._stack.push_async_callback(self._uas.stop)
        self._pass_on = self._transport.on_message
        self._transport.on_message = self._take
        await self._register(3600)
        journal().started.add(f"aiosipua {importlib.metadata.version('aiosipua')}")

    # Inner workings

    async def _register(self, seconds: int) -> None:
        if not self._registers:
            return
        answer = await self.request("REGISTER", self.number, headers={"Expires": str(seconds)})
        if answer.status_code != 200:
            raise TestbedError(f"phone {self.number} cannot register: {answer.status_code} {answer.reason_phrase}")

    @property
    def _asterisk(self) -> tuple[str, int]:
        return _HOST, self._exchange.sip_port

    def _offer(self) -> SdpMessage:
        return build_sdp(_HOST, self._rtp_port, _ULAW, "PCMU")

    async def _transact(self, request: SipRequest) -> SipResponse:
        answer: asyncio.Future[SipResponse] = asyncio.get_running_loop().create_future()
        branch = _branch(request)
        self._answers[branch] = answer
        pause = T1
        try:
            async with asyncio.timeout(TIMEOUT):
                while not answer.done():
                    self._transport.send(request, self._asterisk)
                    await asyncio.wait([answer], timeout=pause)
                    pause = min(2 * pause, T2)
            return answer.result()
        finally:
            del self._answers[branch]

    def _take(self, message: SipRequest | SipResponse, address: tuple[str, int]) -> None:
        """See each message first; what is not about texts and our own requests is aiosipua's."""
        if isinstance(message, SipRequest):
            passed = message.method != "MESSAGE"
            if not passed:
                self._take_text(message)
        elif message.cseq is not None and message.cseq.method == "INVITE":
            passed = self._take_invite_answer(message)
        else:
            passed = False
            answer = self._answers.get(_branch(message))
            if answer is not None and not answer.done() and message.status_code >= 200:
                answer.set_result(message)
        if passed and self._pass_on is not None:
            self._pass_on(message, address)
        self._changed.set()

    def _take_text(self, request: SipRequest) -> None:
        branch = _branch(request)
        if branch not in self._taken:  # else our answer was lost
            self._taken[branch] = self._answer_text(request)
        self._transport.send_reply(self._taken[branch])

    def _answer_text(self, request: SipRequest) -> SipResponse:
        sender, receiver = request.from_addr, request.to_addr
        call = self._calls.get(request.call_id or "")
        if receiver is not None and receiver.tag and (call is None or not dialog_matches(call.dialog, request)):
            return Dialog(call_id=request.call_id or "").create_response(request, 481)
        text = Text(
            display=_display(sender),
            sender=stringify_uri(sender.uri) if sender else "",
            body=request.text,
            content_type=request.content_type or "",
            request=request,
        )
        self.texts.append(text)
        self._unheard.append(text)
        dialog = call.dialog if call else Dialog(call_id=request.call_id or "", local_tag=generate_tag())
        return dialog.create_response(request, 200)

    def _take_invite_answer(self, answer: SipResponse) -> bool:
        """Do what aiosipua does not, and return whether it is to see the answer.

        It does not take the other side's Contact into the dialog (RFC 3261 section 12.1.2), sends no ACK for a refusal
        (17.1.1.3), and takes one that Asterisk therefore sends again for that of the next INVITE, with the password.
        """
        branch = _branch(answer)
        call = self._uac.get_call(answer.call_id or "")
        if answer.status_code >= 300:
            known = branch in self._refused
            if call is not None and not known:
                self._refused[branch] = call.invite
            if branch in self._refused:
                self._transport.send(_ack(self._refused[branch], answer), self._asterisk)
            return not known
        if call is not None and answer.contact:
            call.dialog.remote_target = stringify_uri(answer.contact[0].uri)
        return True

    def _ring(self, sip: IncomingCall) -> None:
        caller = sip.invite.from_addr
        call = SoftCall(self, (caller and caller.uri.user) or "", sip)
        self._calls[sip.call_id] = call
        self.ringing.append(call)
        sip.ringing()

    def _over(self, call_id: str, how: str) -> None:
        call = self._calls.pop(call_id, None)
        if call is not None:
            call.ended_by = how
            if call in self.ringing:
                self.ringing.remove(call)

    def _take_sound(self, _packet: bytes, _address: tuple[str, int]) -> None:
        self.packets += 1
        self._changed.set()

    def _failure(self, what: str, timeout: float) -> str:
        return f"phone {self.number} does not {what} within {timeout:g} s; not taken: {self._unheard}"


class _Transport(SipTransport):
    """UDP. aiosipua's own asserts what is true of asyncio's transports from Python 3.12 on.

    All that has come is taken at once: asyncio would take one for each turn of the loop. Of a burst, the kernel would
    drop some meanwhile, and a phone shows what comes again in the order in which it comes.
    """

    async def start(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.bind(self.local_addr)
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        came: list[tuple[bytes, tuple[str, int]]] = []
        with contextlib.suppress(BlockingIOError):
            while len(came) < _BATCH:
                came.append(self._socket.recvfrom(65_536))
        for datagram, address in came:
            self._dispatch(datagram, address)

    def send(self, message: SipRequest | SipResponse, addr: tuple[str, int]) -> None:
        if self._socket.fileno() != -1:
            self._socket.sendto(bytes(message), addr)

    async def stop(self) -> None:
        if self._socket.fileno() != -1:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self._take(data, address)


def _settle(future: asyncio.Future[str], result: str) -> None:
    if not future.done():
        future.set_result(result)


def _branch(message: SipRequest | SipResponse) -> str:
    return (message.via[0].branch if message.via else None) or ""


def _quoted(text: str) -> str:
    """Return a quoted string (RFC 3261 section 25.1)."""
    return '"' + re.sub(r'([\\"])', r"\\\1", text) + '"'


def _display(address: Address | None) -> str:
    """Return the name before an address, without the escapes of a quoted string: aiosipua leaves them in."""
    name = (address and address.display_name) or ""
    return re.sub(r"\\(.)", r"\1", name)


def _complete(request: SipRequest, headers: Mapping[str, str], body: str) -> SipRequest:
    for name, value in headers.items():
        request.set_header(name, value)
    request.text = body
    return request


def _ack(invite: SipRequest, refusal: SipResponse) -> SipRequest:
    ack = SipRequest(method="ACK", uri=invite.uri)
    ack.add_header("Via", invite.headers.get("via")[0])
    for name in ("From", "Call-ID"):
        ack.set_header(name, invite.get_header(name) or "")
    ack.set_header("To", refusal.get_header("To") or "")
    cseq = invite.cseq
    assert cseq is not None
    ack.set_header("CSeq", stringify_cseq(CSeq(cseq.seq, "ACK")))
    ack.set_header("Max-Forwards", "70")
    return ack
