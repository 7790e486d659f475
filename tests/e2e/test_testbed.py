"""The testbed's own proof: each part does what the other end-to-end tests rely on."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import select
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from tests.testbed import res_xmpp
from tests.testbed.asterisk import Asterisk
from tests.testbed.client import Buddy
from tests.testbed.errors import TestbedError
from tests.testbed.pki import Certificate
from tests.testbed.proxy import Proxy
from tests.testbed.rootfs import Rootfs
from tests.testbed.scene import Scene
from tests.testbed.service import Account, Service
from tests.testbed.xmpp import Accounts, Ejabberd, Options, Prosody, XmppServer

Tls = Literal["starttls", "direct", "none"]
HEADER = (
    "<?xml version='1.0'?><stream:stream to='xmpp.test' version='1.0' xmlns='jabber:client'"
    " xmlns:stream='http://etherx.jabber.org/streams'>"
)
SERVERS = pytest.mark.parametrize("make", [Prosody, Ejabberd])


async def _features(server: XmppServer) -> str:
    """Open a stream and return what the server offers before encryption (RFC 6120 section 4.3.2)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HEADER.encode())
    answer = await asyncio.wait_for(reader.readuntil(b"</stream:features>"), 10)
    writer.close()
    return answer.decode()


class TestAsterisk:
    async def test_call_runs_the_dialplan_with_its_variables(self, asterisk: Asterisk) -> None:
        complaints = await asterisk.dialplan(
            """
[testbed]
exten => 1234,1,UserEvent(Arrived,Colour: ${COLOUR},Caller: ${CALLERID(num)})
 same => n,Set(STATE=waiting)
 same => n,UserEvent(Waiting)
 same => n,Wait(60)
exten => h,1,UserEvent(Gone,State: ${STATE})
"""
        )
        assert complaints == []
        call = await asterisk.call("1234", variables={"COLOUR": "blue & green"}, caller_id='"Ann" <201>')
        event = await call.event("Arrived")
        assert (event["Colour"], event["Caller"]) == ("blue & green", "201")
        await call.event("Waiting")
        assert await call.variable("STATE") == "waiting"
        await call.hangup()
        assert (await call.event("Gone"))["State"] == "waiting"
        await call.ended()

    async def test_complaints_about_a_dialplan_are_returned(self, asterisk: Asterisk) -> None:
        complaints = await asterisk.dialplan("[testbed]\nexten => 1,1,NoOp(\n")
        assert any("closing parenthesis" in line for line in complaints), complaints

    async def test_ael_loads_and_its_errors_are_returned(self, asterisk: Asterisk) -> None:
        assert await asterisk.ael("context from-ael { 7 => { UserEvent(Ael,Says: hello); } }") == []
        call = await asterisk.call("7", "from-ael")
        assert (await call.event("Ael"))["Says"] == "hello"
        complaints = await asterisk.ael("context from-ael { 7 => { NoOp(1; } }")
        assert any("syntax error" in line for line in complaints), complaints

    async def test_fastagi_reaches_our_port(self, asterisk: Asterisk) -> None:
        environments: asyncio.Queue[bytes] = asyncio.Queue()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            environments.put_nowait(await reader.readuntil(b"\n\n"))
            writer.write(b'SET VARIABLE "ANSWER" "forty-two"\n')
            assert await reader.readline() == b"200 result=1\n"
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1") as server:
            port = server.sockets[0].getsockname()[1]
            await asterisk.dialplan(
                f"""
[testbed]
exten => 1,1,AGI(agi://127.0.0.1:{port}/hello,one)
 same => n,UserEvent(Back,Answer: ${{ANSWER}},Status: ${{AGISTATUS}})
"""
            )
            call = await asterisk.call("1")
            environment = await asyncio.wait_for(environments.get(), 10)
            assert b"agi_network_script: hello\n" in environment
            assert b"agi_arg_1: one\n" in environment
            event = await call.event("Back")
            assert (event["Answer"], event["Status"]) == ("forty-two", "SUCCESS")

    async def test_voicemail_answers(self, asterisk: Asterisk) -> None:
        await asterisk.dialplan("[testbed]\nexten => 1,1,VoiceMail(1234@default,u)\n")
        call = await asterisk.call("1")
        await call.manager_event("Newexten", Application="VoiceMail")
        await call.manager_event("Newstate", ChannelStateDesc="Up")
        await call.hangup()
        await call.ended()

    async def test_sip_is_answered(self, rootfs: Rootfs) -> None:
        transport = "[udp]\ntype = transport\nprotocol = udp\nbind = 127.0.0.1:{sip_port}\n"
        async with Asterisk(rootfs, pjsip=transport) as asterisk:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
                phone.settimeout(10)
                phone.bind(("127.0.0.1", 0))
                address = f"127.0.0.1:{phone.getsockname()[1]}"
                request = (
                    f"OPTIONS sip:x@127.0.0.1:{asterisk.sip_port} SIP/2.0\r\n"
                    f"Via: SIP/2.0/UDP {address};branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
                    f"From: <sip:a@{address}>;tag=1\r\nTo: <sip:x@127.0.0.1>\r\nCall-ID: 1@{address}\r\n"
                    f"CSeq: 1 OPTIONS\r\nContact: <sip:a@{address}>\r\nContent-Length: 0\r\n\r\n"
                )
                phone.sendto(request.encode(), ("127.0.0.1", asterisk.sip_port))
                answer = await asyncio.to_thread(phone.recv, 4096)
            assert answer.startswith(b"SIP/2.0 401 ")  # nobody is known here, so everybody must say who he is

    async def test_complaint_about_a_missing_event_shows_what_came(self, asterisk: Asterisk) -> None:
        await asterisk.dialplan("[testbed]\nexten => 1,1,UserEvent(Other)\n same => n,Wait(60)\n")
        call = await asterisk.call("1")
        await call.manager_event("Newexten", Application="Wait")
        with pytest.raises(AssertionError, match=r"(?s)UserEvent\(Wanted\).*'Other'"):
            await call.event("Wanted", timeout=0.1)

    async def test_death_is_noticed(self, rootfs: Rootfs) -> None:
        async with Asterisk(rootfs) as asterisk:
            await asterisk.dialplan("[testbed]\nexten => 1,1,Wait(60)\n")
            call = await asterisk.call("1")
            await call.manager_event("Newexten", Application="Wait")
            await asterisk.assert_serving()
            await asterisk.kill()
            with pytest.raises(AssertionError, match="Asterisk ended"):
                await call.event("Never")


class TestResXmpp:
    """The original, for tests that put it beside ours."""

    @SERVERS
    @pytest.mark.parametrize("suite", ["rootfs", "bullseye"])
    async def test_it_asks_and_receives(
        self, rootfs: Rootfs, make: type[XmppServer], suite: str, request: pytest.FixtureRequest
    ) -> None:
        tree: Rootfs = request.getfixturevalue(suite)
        async with make(rootfs) as server:
            pbx, bob = await server.add_user("pbx", "p"), await server.add_user("bob", "b")
            conf = res_xmpp.configuration("pbx", server, pbx, "p", buddies=[bob])
            async with Asterisk(tree, xmpp=conf) as asterisk, Buddy.online(server, bob, "b") as buddy:
                await res_xmpp.connected(asterisk, "pbx")
                await asterisk.dialplan(
                    f"""
[testbed]
exten => 1,1,JabberSend(pbx,{bob},where to?)
 same => n,Set(ANSWER=${{JABBER_RECEIVE(pbx,{bob},10)}})
 same => n,UserEvent(Got,Answer: ${{ANSWER}})
"""
                )
                call = await asterisk.call("1")
                question = await buddy.hears("where to?")
                assert question.sender == f"{pbx}/asterisk-xmpp"
                buddy.say(question.sender, "home")
                assert (await call.event("Got"))["Answer"] == "home"


class TestAsterisk16:
    async def test_it_runs(self, bullseye: Rootfs) -> None:
        async with Asterisk(bullseye) as asterisk:
            assert (await asterisk.version()).startswith("16.")
            assert await asterisk.dialplan("[testbed]\nexten => 1,1,UserEvent(Here,Text: ${BASE64_ENCODE(x)})\n") == []
            call = await asterisk.call("1")
            assert (await call.event("Here"))["Text"] == "eA=="


class TestService:
    async def test_a_verb_reaches_bob(self, scene: Scene) -> None:
        call = await scene.run("AGI({agi}/jabber_send,pbx,{bob},tea, or coffee?)")
        assert (await scene.bob.hears()).body == "tea, or coffee?"
        result = await scene.result(call)
        assert (result["JABBER_SEND_STATUS"], result["JABBER_ERROR"]) == ("SENT", "")
        (account,) = (await scene.service.status())["accounts"]
        assert (account["account"], account["resumable"]) == ("pbx", True)

    async def test_variables_after_a_hangup(self, scene: Scene) -> None:
        call = await scene.run("Set(JABBER_ERROR=a, b)", "UserEvent(Waiting)", "Wait(60)")
        await call.event("Waiting")
        await call.hangup()
        assert (await scene.result_after_hangup(call))["JABBER_ERROR"] == "a, b"

    async def test_reload_adds_an_account(self, scene: Scene) -> None:
        ann = await scene.accounts("ann")
        scene.service.accounts["ann"] = Account(scene.server, ann.jid, ann.password, tls="direct")
        await scene.service.reload()
        await scene.service.online()
        code, output = await scene.service.command("status")
        assert code == 0, output
        assert "ann: online" in output

    async def test_a_wrong_configuration_is_said_at_the_start(self) -> None:
        service = Service(agi={"listne": ["127.0.0.1"]})
        with pytest.raises(TestbedError, match="did you mean listen"):
            await service.__aenter__()

    async def test_stop_and_kill(self) -> None:
        async with Service() as service:
            await service.stop()
            assert "stopped" in service.log
            await service.start()
            await service.kill()
            await service.start()
            service.assert_alive()


class TestNothingIsLeftBehind:
    def test_killed_tests_leave_no_process(self, rootfs: Rootfs) -> None:
        program = textwrap.dedent(
            """
            import time
            from tests.testbed import rootfs, asterisk, xmpp
            tree = rootfs.build()
            with asterisk.Asterisk(tree) as a, xmpp.Prosody(tree) as p, xmpp.Ejabberd(tree) as e:
                print(a.pid, p.pid, e.pid, flush=True)
                time.sleep(60)
            """
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as tests:
            assert tests.stdout is not None
            servers = [os.pidfd_open(int(pid)) for pid in tests.stdout.readline().split()]
            assert len(servers) == 3
            tests.kill()
        for server in servers:  # the descriptor of a process is readable when it has ended (pidfd_open(2))
            readable, _, _ = select.select([server], [], [], 10)
            assert readable
            os.close(server)

    async def test_no_mount_is_left_and_no_directory(self, rootfs: Rootfs) -> None:
        async with Prosody(rootfs) as server:
            place = server.ca_file.parent
            assert place.is_dir()
            assert str(rootfs.path) not in Path("/proc/self/mounts").read_text()
        assert not place.exists()


class TestServers:
    @pytest.mark.parametrize("tls", ["starttls", "direct"])
    async def test_two_people_talk(self, xmpp_server: XmppServer, accounts: Accounts, tls: Tls) -> None:
        ann, bob = await accounts("ann"), await accounts("bob")
        async with (
            Buddy.online(xmpp_server, ann.jid, ann.password, tls=tls) as ann_client,
            Buddy.online(xmpp_server, bob.jid, bob.password, tls=tls, resource="desk") as bob_client,
        ):
            sent = ann_client.say(bob.jid, "tea & <biscuits> 🫖", thread="t-1", receipt=True)
            heard = await bob_client.hears(sender=ann.jid)
            assert (heard.body, heard.thread, heard.id) == ("tea & <biscuits> 🫖", "t-1", sent)
            assert heard.sender == ann_client.full_jid == f"{ann.jid}/phone"
            receipt = await ann_client.hears(lambda message: message.receipt_for == sent)
            assert receipt.sender == f"{bob.jid}/desk"

    async def test_wrong_password_is_refused(self, xmpp_server: XmppServer, accounts: Accounts) -> None:
        bob = await accounts("bob")
        with pytest.raises(TestbedError, match="the login was refused"):
            await Buddy.connect(xmpp_server, bob.jid, "wrong")

    async def test_carbons_reach_the_other_client(self, xmpp_server: XmppServer, accounts: Accounts) -> None:
        ann, bob = await accounts("ann"), await accounts("bob")
        async with (
            Buddy.online(xmpp_server, ann.jid, ann.password) as ann_client,
            Buddy.online(xmpp_server, bob.jid, bob.password, resource="phone", carbons=True) as phone,
            Buddy.online(xmpp_server, bob.jid, bob.password, resource="desk", carbons=True) as desk,
        ):
            ann_client.say(desk.full_jid, "only to the desk")
            assert (await desk.hears("only to the desk")).carbon == ""
            assert (await phone.hears("only to the desk")).carbon == "received"
            phone.say(ann.jid, "answered from the phone")
            assert (await desk.hears("answered from the phone")).carbon == "sent"

    async def test_presence_needs_consent(self, xmpp_server: XmppServer, accounts: Accounts) -> None:
        ann, bob = await accounts("ann"), await accounts("bob")
        async with (
            Buddy.online(xmpp_server, ann.jid, ann.password) as ann_client,
            Buddy.online(xmpp_server, bob.jid, bob.password, accepts=False) as bob_client,
        ):
            ann_client.subscribe(bob.jid)
            await bob_client.sees(lambda seen: seen.type == "subscribe" and seen.sender == ann.jid)
            # Prosody says at once that bob is unavailable, which says nothing.
            assert not [seen for seen in ann_client.seen if seen.sender.startswith(bob.jid) and not seen.type]
            bob_client.approve(ann.jid)
            await ann_client.sees(lambda seen: seen.sender == bob_client.full_jid and not seen.type)
            await bob_client.be("dnd", "asleep", 7)
            seen = await ann_client.sees(lambda seen: seen.sender == bob_client.full_jid and bool(seen.show))
            assert (seen.show, seen.status, seen.priority) == ("dnd", "asleep", 7)

    async def test_mail_for_somebody_offline_is_kept(self, xmpp_server: XmppServer, accounts: Accounts) -> None:
        ann, bob = await accounts("ann"), await accounts("bob")
        async with Buddy.online(xmpp_server, ann.jid, ann.password) as ann_client:
            ann_client.say(bob.jid, "for later")
            ann_client.say(ann_client.full_jid, "the server has read the line before this one")
            await ann_client.hears()
        async with Buddy.online(xmpp_server, bob.jid, bob.password) as bob_client:
            assert (await bob_client.hears("for later")).delayed != ""

    async def test_rooms(self, xmpp_server: XmppServer, accounts: Accounts) -> None:
        bob = await accounts("bob")
        async with Buddy.online(xmpp_server, bob.jid, bob.password) as client:
            me = f"{bob.jid.partition('@')[0]}@{xmpp_server.muc_domain}/bob"
            client.send_raw(f"<presence to='{me}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
            await client.sees(lambda seen: seen.sender == me and 'code="110"' in seen.xml)  # XEP-0045: it is our own

    async def test_component(self, xmpp_server: XmppServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", xmpp_server.component_port)
        writer.write(
            f"<stream:stream xmlns='jabber:component:accept' to='{xmpp_server.component_domain}'"
            " xmlns:stream='http://etherx.jabber.org/streams'>".encode()
        )
        answer = b""
        while (stream_id := re.search(rb"<stream:stream[^>]* id=['\"]([^'\"]+)['\"][^>]*>", answer)) is None:
            answer += await asyncio.wait_for(reader.read(4096), 10)
        digest = hashlib.sha1(stream_id[1] + xmpp_server.component_secret.encode()).hexdigest()  # XEP-0114 section 3
        writer.write(f"<handshake>{digest}</handshake>".encode())
        assert b"<handshake" in await asyncio.wait_for(reader.read(4096), 10)
        writer.close()

    async def test_the_same_account_cannot_be_made_twice(self, xmpp_server: XmppServer, accounts: Accounts) -> None:
        bob = await accounts("bob")
        with pytest.raises(TestbedError, match="already"):
            await xmpp_server.add_user(bob.jid.partition("@")[0], "other")


@SERVERS
class TestServersOfATestsOwn:
    @pytest.mark.parametrize(
        ("certificate", "reason"),
        [
            ("wrong-host", "Hostname mismatch"),
            ("unknown-ca", "unable to get local issuer"),
            ("expired", "has expired"),
        ],
    )
    async def test_bad_certificates_are_shown_and_refused(
        self, rootfs: Rootfs, make: type[XmppServer], certificate: Certificate, reason: str
    ) -> None:
        async with make(rootfs, Options(certificate=certificate)) as server:
            jid = await server.add_user("bob", "secret")
            for tls in ("starttls", "direct"):
                with pytest.raises(TestbedError, match=reason):
                    await Buddy.connect(server, jid, "secret", tls=tls)

    async def test_without_encryption(self, rootfs: Rootfs, make: type[XmppServer]) -> None:
        async with make(rootfs, Options(tls="off")) as server:
            jid = await server.add_user("bob", "secret")
            async with Buddy.online(server, jid, "secret", tls="none") as buddy:
                assert buddy.connected

    async def test_encryption_is_required(self, rootfs: Rootfs, make: type[XmppServer]) -> None:
        async with make(rootfs) as server:
            features = await _features(server)
        assert "<required/>" in features
        assert "<mechanism>" not in features

    async def test_encryption_is_optional(self, rootfs: Rootfs, make: type[XmppServer]) -> None:
        async with make(rootfs, Options(tls="optional")) as server:
            jid = await server.add_user("bob", "secret")
            for tls in ("none", "starttls"):
                async with Buddy.online(server, jid, "secret", tls=tls) as buddy:
                    assert buddy.connected

    @pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"])
    async def test_mechanisms_are_restricted(self, rootfs: Rootfs, make: type[XmppServer], mechanism: str) -> None:
        async with make(rootfs, Options(mechanisms=(mechanism,))) as server:
            jid = await server.add_user("bob", "secret")
            async with Buddy.online(server, jid, "secret") as buddy:
                assert buddy.mechanism == mechanism

    async def test_long_stanzas_are_refused(self, rootfs: Rootfs, make: type[XmppServer]) -> None:
        async with make(rootfs, Options(max_stanza=20_000)) as server:
            jid = await server.add_user("bob", "secret")
            buddy = await Buddy.connect(server, jid, "secret")
            buddy.say(buddy.full_jid, "a" * 15_000)
            assert len((await buddy.hears()).body) == 15_000
            buddy.say(buddy.full_jid, "a" * 25_000)
            await buddy.until_gone()

    async def test_without_offline_mail_it_bounces(self, rootfs: Rootfs, make: type[XmppServer]) -> None:
        async with make(rootfs, Options(offline=False)) as server:
            ann, bob = await server.add_user("ann", "a"), await server.add_user("bob", "b")
            async with Buddy.online(server, ann, "a") as client:
                sent = client.say(bob, "nobody there")
                bounce = await client.hears(lambda message: message.type == "error")
                assert (bounce.id, bounce.error) == (sent, "service-unavailable")

    @pytest.mark.parametrize("end", [XmppServer.stop, XmppServer.kill], ids=["stop", "kill"])
    async def test_accounts_outlive_a_restart(
        self, rootfs: Rootfs, make: type[XmppServer], end: Callable[[XmppServer], object]
    ) -> None:
        async with make(rootfs) as server:
            jid = await server.add_user("bob", "secret")
            buddy = await Buddy.connect(server, jid, "secret")
            await end(server)  # type: ignore[misc]
            await buddy.until_gone()
            with pytest.raises(TestbedError, match="no connection"):
                await Buddy.connect(server, jid, "secret")
            await server.start()
            async with Buddy.online(server, jid, "secret") as again:
                assert again.connected


class TestProxy:
    async def test_cut_silence_and_refusal(self, xmpp_server: XmppServer, accounts: Accounts) -> None:
        bob = await accounts("bob")
        async with Proxy(xmpp_server.port) as proxy:
            buddy = await Buddy.connect(xmpp_server, bob.jid, bob.password, port=proxy.port)
            assert proxy.accepted == 1
            proxy.cut("rst")
            await buddy.until_gone()
            buddy = await Buddy.connect(xmpp_server, bob.jid, bob.password, port=proxy.port)
            await proxy.until_accepted(2)
            proxy.cut("fin")
            await buddy.until_gone()
            await proxy.refuse()
            with pytest.raises(TestbedError, match="no connection"):
                await Buddy.connect(xmpp_server, bob.jid, bob.password, port=proxy.port)
            await proxy.accept()
            async with Buddy.online(xmpp_server, bob.jid, bob.password, port=proxy.port) as buddy:
                proxy.silence()
                buddy.say(buddy.full_jid, "into the silence")
                with pytest.raises(AssertionError, match="not within"):
                    await buddy.hears(timeout=0.2)
                assert buddy.connected
                proxy.resume()
                await buddy.hears("into the silence")

    async def test_rst_and_fin_are_what_they_say(self) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with (
            await asyncio.start_server(serve, "127.0.0.1") as server,
            Proxy(server.sockets[0].getsockname()[1]) as proxy,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            await proxy.until_open(1)
            proxy.cut("fin")
            assert await reader.read() == b""
            writer.close()
            await proxy.until_open(0)
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            await proxy.until_open(1)
            proxy.cut("rst")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    async def test_a_server_that_is_down(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # bound, not listening: nobody else gets it, and it refuses
            async with Proxy(unused.getsockname()[1]) as proxy:
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                with pytest.raises(ConnectionResetError):
                    await reader.read()
                writer.close()
