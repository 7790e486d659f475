"""The testbed's own proof: each part does what the other end-to-end tests rely on."""

from __future__ import annotations

import asyncio

import pytest

from tests.testbed.asterisk import Asterisk
from tests.testbed.rootfs import Rootfs


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
