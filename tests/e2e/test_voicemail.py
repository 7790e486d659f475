"""Voicemail into chat: what a real app_voicemail has recorded, uploaded to real servers and fetched from them."""

from __future__ import annotations

import asyncio
import email
import email.policy
import os
import ssl
import urllib.request
import wave
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.testbed.asterisk import Asterisk
from tests.testbed.client import Buddy, Heard
from tests.testbed.rootfs import Rootfs
from tests.testbed.scene import Scene
from tests.testbed.service import Account, Service
from tests.testbed.xmpp import Accounts, Options, Prosody, XmppServer

STATUS, URL, ERROR = "JABBER_VOICEMAIL_STATUS", "JABBER_VOICEMAIL_URL", "JABBER_ERROR"
SHOW = (STATUS, URL, ERROR, "VMSTATUS", "VM_MESSAGEFILE")

OOB = "{jabber:x:oob}"
REPLY = "{urn:xmpp:reply:0}"

#: A second of what callers say; Asterisk hangs up behind it.
SPEAKS = ("Playback", "vm-goodbye")
NOT_SENT = "The recording could not be sent."


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """A spool besides Asterisk's own."""
    directory = tmp_path / "voicemail"
    directory.mkdir()
    return directory


@pytest.fixture
def recording(spool: Path) -> Path:
    """A recording of two seconds, without anything beside it."""
    path = spool / "msg0000.wav"
    write_wav(path, 2)
    return path


def write_wav(path: Path, seconds: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(os.urandom(16_000 * seconds))


async def configure(service: Service, *spool: Path, **settings: Any) -> None:
    service.sections["voicemail"] = {"spool": [str(path) for path in spool], **settings}
    await service.reload()


def download(server: XmppServer, url: str) -> tuple[bytes, str]:
    """Fetch a file as anybody does who has its address; return it with its type."""
    context = ssl.create_default_context(cafile=str(server.ca_file))
    with urllib.request.urlopen(url, context=context, timeout=10) as answer:
        return answer.read(), answer.headers["Content-Type"]


async def played(scene: Scene, heard: Heard) -> bytes:
    """Return the recording that a message lets a client play inline: the text is the address and nothing else."""
    element = ET.fromstring(heard.xml).find(f"{OOB}x/{OOB}url")
    assert element is not None
    assert element.text == heard.body
    assert heard.body.startswith(f"https://localhost:{scene.server.https_port}/")
    data, content_type = await asyncio.to_thread(download, scene.server, heard.body)
    assert content_type == "audio/wav"
    return data


def belongs(note: Heard, recording: Heard) -> None:
    """A note is the reply to the recording (XEP-0461)."""
    reply = ET.fromstring(note.xml).find(f"{REPLY}reply")
    assert reply is not None
    assert (reply.get("id"), reply.get("to")) == (recording.id, recording.sender)
    assert note.thread == recording.thread


class TestDialplan:
    async def test_a_caller_leaves_a_message(self, scene: Scene) -> None:
        """As in the documents: VoiceMail(), and at the hangup jabber_voicemail with VM_MESSAGEFILE."""
        asterisk = scene.asterisk
        await configure(scene.service, asterisk.spool / "voicemail")
        file = f"{asterisk.rootfs.path}${{VM_MESSAGEFILE}}"
        shown = ",".join(f"{name}: ${{{name}}}" for name in (STATUS, URL))
        complaints = await asterisk.dialplan(
            "[testbed]\nexten => s,1,Answer()\n same => n,VoiceMail(1234@default,s)\n"
            f"exten => h,1,AGI({scene.service.agi_url}/jabber_voicemail,pbx,{scene.bob.jid},{file})\n"
            f" same => n,UserEvent(After,{shown},File: ${{VM_MESSAGEFILE}})\n"
        )
        assert not complaints
        call = await asterisk.call("s", caller_id='"Ann" <201>', caller_does=SPEAKS)
        after = await call.event("After", 60)
        sound, note = await scene.bob.hears(), await scene.bob.hears()
        assert (after[STATUS], after[URL]) == ("SENT", sound.body)
        left = Path(f"{asterisk.rootfs.path}{after['File']}.wav").read_bytes()
        assert left.startswith(b"RIFF")
        assert await played(scene, sound) == left
        assert note.body.startswith("Voicemail from Ann (201), 0:0")
        belongs(note, sound)

    async def test_a_withheld_number_stays_withheld(self, scene: Scene, recording: Path) -> None:
        await configure(scene.service, recording.parent)
        recording.with_suffix(".txt").write_text('[message]\ncallerid="Ann" <201>\nduration=83\n')
        call = await scene.run(
            "Set(CALLERID(pres)=prohib)", f"AGI({{agi}}/jabber_voicemail,pbx,{{bob}},{recording})", show=SHOW
        )
        assert (await scene.result(call))[STATUS] == "SENT"
        await scene.bob.hears()
        assert (await scene.bob.hears()).body == "Voicemail from a withheld number, 1:23"

    async def test_words_of_the_dialplan(self, scene: Scene, recording: Path) -> None:
        await configure(scene.service, recording.parent)
        verb = "jabber_voicemail?seconds=63&caller=%2B49301234567&name=J%C3%B6rg%20%26%20S%C3%B6hne"
        call = await scene.run(f"AGI({{agi}}/{verb},pbx,{{bob}},{recording})", show=SHOW)
        assert (await scene.result(call))[ERROR] == ""
        await scene.bob.hears()
        assert (await scene.bob.hears()).body == "Voicemail from Jörg & Söhne (+49301234567), 1:03"
        await scene.run(f"AGI({{agi}}/jabber_voicemail,pbx,{{bob}},{recording},For you, or so)", show=SHOW)
        await scene.bob.hears()
        assert (await scene.bob.hears()).body == "For you, or so"

    async def test_converted_and_transcribed(self, scene: Scene, recording: Path) -> None:
        await configure(
            scene.service,
            recording.parent,
            convert=["/bin/sh", "-c", "printf OggS; cat"],
            suffix="ogg",
            transcribe=["/bin/sh", "-c", "wc -c; echo 'bitte zurückrufen'"],
        )
        call = await scene.run(f"AGI({{agi}}/jabber_voicemail?name=Ann,pbx,{{bob}},{recording})", show=SHOW)
        result = await scene.result(call)
        assert (result[STATUS], result[ERROR]) == ("SENT", "")
        sound, note = await scene.bob.hears(), await scene.bob.hears()
        data, content_type = await asyncio.to_thread(download, scene.server, sound.body)
        assert data == b"OggS" + recording.read_bytes()
        assert content_type in ("audio/ogg", "application/ogg")  # ejabberd goes by the name
        assert note.body == f"Voicemail from Ann, 0:02\n“{recording.stat().st_size}\nbitte zurückrufen”"

    async def test_programs_that_fail_cost_nothing_else(self, scene: Scene, recording: Path) -> None:
        await configure(
            scene.service,
            recording.parent,
            convert=["/bin/false"],
            transcribe=["/bin/sleep", "1000"],
            transcribe_timeout=0.5,
        )
        call = await scene.run(f"AGI({{agi}}/jabber_voicemail?name=Ann,pbx,{{bob}},{recording})", show=SHOW)
        result = await scene.result(call)
        assert result[STATUS] == "SENT"
        assert "voicemail.convert ended with exit code 1; the recording went as it was" in result[ERROR]
        assert "voicemail.transcribe took longer than 0.5 s" in result[ERROR]
        assert await played(scene, await scene.bob.hears()) == recording.read_bytes()
        assert (await scene.bob.hears()).body == "Voicemail from Ann, 0:02"

    @pytest.mark.parametrize(
        "name",
        [
            "a b.wav",
            'it\'s "quoted" $(reboot) `id` ${EXTEN}; & | , x.wav',
            "line\nbreak.wav",
            "ünï😀.wav",
            "-rf.wav",
            "%2e%2e%2f.wav",
            "..wav.wav",
        ],
    )
    async def test_hostile_names_harm_nothing_and_go_nowhere(self, scene: Scene, spool: Path, name: str) -> None:
        write_wav(spool / name, 1)
        await configure(scene.service, spool)
        encoded = quote(str(spool / name), safe="")
        call = await scene.run(f"AGI({{agi}}/jabber_voicemail?enc=uri&name=Ann,pbx,{{bob}},{encoded})", show=SHOW)
        assert (await scene.result(call))[STATUS] == "SENT"
        sound = await scene.bob.hears()
        assert await played(scene, sound) == (spool / name).read_bytes()
        assert sound.body.rpartition("/")[2].startswith("voicemail-2")

    async def test_what_is_not_in_the_spool_is_refused(self, scene: Scene, spool: Path, tmp_path: Path) -> None:
        secret = tmp_path / "secret.wav"
        write_wav(secret, 1)
        (spool / "link.wav").symlink_to(secret)
        (spool / "folder").symlink_to(tmp_path)
        os.mkfifo(spool / "pipe.wav")
        await configure(scene.service, spool)
        refused = [
            "/etc/passwd",
            "/dev/zero",
            str(secret),
            f"{spool}/../secret.wav",
            f"{spool}/link.wav",
            f"{spool}/folder/secret.wav",
            f"{spool}/pipe.wav",
            f"{spool}/no.wav",
            f"{spool}",
            "secret.wav",
            "",
        ]
        for path in refused:
            call = await scene.run(f"AGI({{agi}}/jabber_voicemail,pbx,{{bob}},{path},x)", show=SHOW)
            result = await scene.result(call)
            assert (result[STATUS], result[URL]) == ("ERROR", ""), path
            assert result[ERROR], path
        await scene.run("AGI({agi}/jabber_send,pbx,{bob},nothing was sent before this)")
        await scene.bob.hears_nothing_until("nothing was sent before this")

    async def test_nobody_of_that_name(self, scene: Scene, recording: Path) -> None:
        await configure(scene.service, recording.parent)
        call = await scene.run(f"AGI({{agi}}/jabber_voicemail,pbx,nobody@{scene.server.domain},{recording})", show=SHOW)
        result = await scene.result(call)
        assert result[STATUS] == "FAILED"
        assert "nobody@" in result[ERROR]

    async def test_a_recording_that_is_too_long_is_told_of(self, scene: Scene, recording: Path) -> None:
        await configure(scene.service, recording.parent, max_size=recording.stat().st_size - 1)
        call = await scene.run(f"AGI({{agi}}/jabber_voicemail?name=Ann,pbx,{{bob}},{recording})", show=SHOW)
        result = await scene.result(call)
        assert (result[STATUS], result[URL]) == ("TEXT", "")
        assert "voicemail.max_size" in result[ERROR]
        assert (await scene.bob.hears()).body == f"Voicemail from Ann\n{NOT_SENT}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(upload=0), "has no upload service (XEP-0363)"),
        (Options(upload=1000), "takes files of at most 1000 bytes; this one has 32044"),
        (Options(upload_quota=1000), "refuses: resource-constraint"),
    ],
    ids=["missing", "too small", "full"],
)
async def test_the_text_goes_where_the_upload_does_not(
    rootfs: Rootfs, asterisk: Asterisk, recording: Path, options: Options, words: str
) -> None:
    with Prosody(rootfs, options) as server:
        accounts = Accounts(server)
        pbx, login = await accounts("pbx"), await accounts("bob")
        voicemail = {"voicemail": {"spool": [str(recording.parent)], "transcribe": ["/bin/echo", "ring me"]}}
        async with (
            Buddy.online(server, login.jid, login.password) as bob,
            Service({"pbx": Account(server, pbx.jid, pbx.password)}, sections=voicemail) as service,
        ):
            await service.online("pbx")
            scene = Scene(asterisk, server, accounts, service, pbx, bob, login)
            call = await scene.run(f"AGI({{agi}}/jabber_voicemail?name=Ann,pbx,{{bob}},{recording})", show=SHOW)
            result = await scene.result(call)
            assert (result[STATUS], result[URL]) == ("TEXT", "")
            assert words in result[ERROR]
            assert (await bob.hears()).body == f"Voicemail from Ann, 0:02\n“ring me”\n{NOT_SENT}"


@pytest.mark.parametrize("xmpp_server", ["prosody", "ejabberd"], indirect=True)
async def test_a_component_uploads_too(
    xmpp_server: XmppServer, asterisk: Asterisk, accounts: Accounts, recording: Path
) -> None:
    login = await accounts("bob")
    component = Account(
        xmpp_server,
        xmpp_server.component_domain,
        xmpp_server.component_secret,
        tls="none",
        port=xmpp_server.component_port,
        settings={"type": "component", "ca_file": str(xmpp_server.ca_file), "buddies": None},
    )
    voicemail = {"voicemail": {"spool": [str(recording.parent)]}}
    async with (
        Buddy.online(xmpp_server, login.jid, login.password) as bob,
        Service({"pbx": component}, sections=voicemail) as service,
    ):
        await service.online("pbx")
        scene = Scene(asterisk, xmpp_server, accounts, service, login, bob, login)
        call = await scene.run(f"AGI({{agi}}/jabber_voicemail,pbx,{{bob}},{recording})", show=SHOW)
        assert (await scene.result(call))[ERROR] == ""
        assert await played(scene, await bob.hears()) == recording.read_bytes()


@pytest.fixture
async def mail(scene: Scene, tmp_path: Path) -> AsyncIterator[bytes]:
    """What a real app_voicemail gives to its mailcmd when Ann has left a message for Bob."""
    asterisk = scene.asterisk
    fifo = asterisk.spool / "mail"
    os.mkfifo(fifo)
    os.chown(fifo, asterisk.spool.stat().st_uid, asterisk.spool.stat().st_gid)
    inside = Path("/") / fifo.relative_to(asterisk.rootfs.path)
    asterisk.write(
        "voicemail.conf",
        "[general]\nformat = wav\nmaxsecs = 60\nattach = yes\n"
        f"mailcmd = cat > {inside}\n"
        "emailsubject = Voicemail from ${VM_CIDNAME}, ${VM_DUR}\nemailbody = Box ${VM_MAILBOX}: Grüße\n"
        f"[default]\n1234 => 4242,Bob,,,\n1235 => 4242,Bob,{scene.bob.jid},,\n",
    )
    await asterisk.cli("voicemail reload")
    await scene.load("Answer()", "VoiceMail(1235@default,s)")
    reading = asyncio.ensure_future(asyncio.to_thread(fifo.read_bytes))
    await asterisk.call("s", caller_id='"Ann" <201>', caller_does=SPEAKS)
    yield await asyncio.wait_for(reading, 60)
    fifo.unlink()
    asterisk.write("voicemail.conf", Asterisk._configuration(asterisk)["voicemail.conf"])
    await asterisk.cli("voicemail reload")


async def mailcmd(scene: Scene, mail: bytes, **settings: Any) -> tuple[int, str]:
    """Run `agi-xmpp mailcmd` on a mail."""
    await configure(scene.service, scene.asterisk.spool, account="pbx", **settings)
    return await scene.service.command("mailcmd", stdin=mail.decode())


class TestMailcmd:
    async def test_a_mail_goes_into_chat(self, scene: Scene, mail: bytes) -> None:
        assert await mailcmd(scene, mail) == (0, "")
        sound, note = await scene.bob.hears(), await scene.bob.hears()
        (attached,) = email.message_from_bytes(mail, policy=email.policy.default).iter_attachments()
        assert await played(scene, sound) == attached.get_content()
        assert note.body.startswith("Voicemail from Ann, 0:0")
        assert note.body.endswith("\nBox 1235: Grüße")
        belongs(note, sound)

    async def test_by_the_map_and_by_nobody(self, scene: Scene, mail: bytes, tmp_path: Path) -> None:
        foreign = mail.replace(scene.bob.jid.encode(), b"Bob@mail.test")
        people: Mapping[str, str] = {"bob@mail.test": scene.bob.jid}
        assert await mailcmd(scene, foreign, people=people) == (0, "")
        await scene.bob.hears()
        await scene.bob.hears("", timeout=10)
        code, output = await mailcmd(scene, foreign)
        assert code == 75
        assert "Bob@mail.test: no Jabber ID is known for this address" in output
        kept = tmp_path / "kept"
        code, output = await mailcmd(scene, foreign, fallback=["/bin/sh", "-c", f"cat > '{kept}'"])
        assert (code, kept.read_bytes()) == (0, foreign)
        maildir = tmp_path / "mails"
        code, output = await mailcmd(scene, foreign, fallback=["/bin/false"], undelivered=str(maildir))
        assert code == 0
        assert [path.read_bytes() for path in (maildir / "new").iterdir()] == [foreign]

    async def test_without_the_service_no_mail_is_lost(self, scene: Scene, mail: bytes, tmp_path: Path) -> None:
        away = scene.service.config_file.with_name("away.toml")
        text = scene.service.config_file.read_text()
        away.write_text(text.replace("control.sock", "nobody.sock") + '\n[voicemail]\naccount = "pbx"\n')
        code, output = await scene.service.command("mailcmd", "--config", str(away), stdin=mail.decode())
        assert code == 75
        assert "no service is running" in output
        away.write_text(away.read_text() + f'undelivered = "{tmp_path}/mails"\n')
        code, output = await scene.service.command("mailcmd", "--config", str(away), stdin=mail.decode())
        assert code == 0
        assert [path.read_bytes() for path in (tmp_path / "mails/new").iterdir()] == [mail]
