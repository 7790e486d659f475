"""People by number and mail address: the user map and files."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from agi_xmpp.config import PhoneUser
from agi_xmpp.features.contacts import directory
from agi_xmpp.features.contacts.addresses import Address, from_uri
from agi_xmpp.features.contacts.directory import Directory, DirectoryError, Holder, Index, read_csv, read_toml
from agi_xmpp.features.phone.book.number import Number, read
from agi_xmpp.xmpp.model import Jid

ANN = Jid("ann", "x.org")
BOB = Jid("bob", "x.org")
CSV = b"jid;name;number;mobile;number 2;mail\nann@x.org;Ann;030/1234567;;;Ann@X.org\nbob@x.org;;;+49 171 1234567;101;\n"


def address(uri: str, country: str = "DE") -> Address:
    found = from_uri(uri, country)
    assert found is not None
    return found


def people(index: Index, uri: str) -> list[Jid]:
    return [holder.jid for holder in index.find(address(uri))]


class TestCsv:
    @pytest.mark.parametrize(
        ("uri", "who"),
        [
            ("tel:+49301234567", [ANN]),
            ("tel:0301234567", [ANN]),
            ("tel:004930-1234567", [ANN]),
            ("tel:+491711234567", [BOB]),
            ("tel:101", [BOB]),
            ("mailto:ann@x.org", [ANN]),
            ("tel:+4930123456", []),
            ("tel:102", []),
            ("mailto:bob@x.org", []),
        ],
    )
    def test_who_is_found(self, uri: str, who: list[Jid]) -> None:
        assert people(read_csv(CSV, "DE"), uri) == who

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_delimiters_and_byte_order_mark(self, delimiter: str) -> None:
        text = f"\ufeffJID{delimiter}E-Mail\r\nann@x.org{delimiter}ann@y.org\r\n"
        assert people(read_csv(text.encode()), "mailto:ann@y.org") == [ANN]

    def test_names_are_cleaned(self) -> None:
        index = read_csv(b'jid,name,number\nann@x.org,"Ann\n\x1bSmith",101\n')
        assert index.find(address("tel:101")) == [Holder(ANN, "Ann Smith")]

    def test_several_people_with_one_number(self) -> None:
        index = read_csv(b"jid,number\nann@x.org,101\nbob@x.org,101\n")
        assert people(index, "tel:101") == [ANN, BOB]

    def test_the_order_of_people_is_that_of_the_file(self) -> None:
        index = read_csv(b"jid,number\nann@x.org,030 1234567\nbob@x.org,+49301234567\neve@x.org,030/1234567\n", "DE")
        assert people(index, "tel:+49301234567") == [ANN, BOB, Jid("eve", "x.org")]

    def test_a_number_that_all_have_is_read_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        index = read_csv(b"jid,number\n" + b"".join(b"p%d@x.org,030/1234567\n" % n for n in range(50)), "DE")
        wanted = address("tel:+49301234567")
        texts = []

        def noted(text: str, country: str) -> Number | None:
            texts.append(text)
            return read(text, country)

        monkeypatch.setattr(directory, "read", noted)
        assert len(index.find(wanted)) == 50
        assert texts == ["0301234567"]

    @pytest.mark.parametrize(
        ("data", "complaint"),
        [
            (b"", 'line 1: no heading "jid"'),
            (b"name,number\nAnn,101\n", 'line 1: no heading "jid"'),
            (b"jid,number\nann@x.org,1\n@,101\n", "line 3: '@' is not a Jabber ID"),
            (b"jid,number\n,101\n", "line 2: the Jabber ID is empty"),
            (b"jid,number\nx.org,101\n", "line 2: 'x.org' is a server"),
            (b"jid,number\nann@x.org,1,2\n", "line 2: more cells than headings"),
            (b'jid,number\nann@x.org,"1\n', "line 2: unexpected end of data"),
            (b"jid,number\n\xff@x.org,1\n", "line 2: not UTF-8 text"),
        ],
    )
    def test_what_is_wrong(self, data: bytes, complaint: str) -> None:
        with pytest.raises(DirectoryError, match=complaint):
            read_csv(data)

    def test_empty_lines_and_short_ones(self) -> None:
        assert read_csv(b"jid,number,mail\n\n,,\nann@x.org,101\n").addresses == 1


class TestToml:
    def test_who_is_found(self) -> None:
        data = (
            b'[[contact]]\r\njid = "ann@x.org/home"\r\nname = "Ann"\r\nnumbers = ["0301234567", 101]\r\n'
            b'mails = ["a@y.org"]\r\n'
        )
        index = read_toml(data, "DE")
        assert [people(index, uri) for uri in ("tel:+49301234567", "tel:101", "mailto:a@y.org")] == [[ANN]] * 3

    @pytest.mark.parametrize(
        ("data", "complaint"),
        [
            (b"[[contact]]\n", "contact 1 jid: field required"),
            (b'[[contact]]\njid = "ann@x.org"\nphone = "1"\n', "contact 1 phone: extra inputs"),
            (b'[[contact]]\njid = "@"\n', "contact 1: '@' is not a Jabber ID"),
            (b"x = 1\n", "x: extra"),
            (b"x", "not valid TOML"),
            (b"x = " + b"[" * 100_000, "too deep"),
        ],
    )
    def test_what_is_wrong(self, data: bytes, complaint: str) -> None:
        with pytest.raises(DirectoryError, match=complaint):
            read_toml(data)


class TestDirectory:
    async def test_the_user_map(self) -> None:
        users = {
            "ann@x.org": PhoneUser(
                devices=["PJSIP/101"], name="Ann", numbers=["+49 30 1234567"], mails=["Ann.Smith@x.org"]
            ),
            "bob@x.org": PhoneUser(devices=["PJSIP/b"], extension="102"),
        }
        found = Directory(users, [], "DE")
        uris = ["tel:101", "tel:0301234567", "mailto:ann.smith@x.org", "tel:102", "tel:103"]
        assert [await found.find(address(uri)) for uri in uris] == [
            *[(Holder(ANN, "Ann"),)] * 3,
            (Holder(BOB),),
            (),
        ]
        assert not found.is_empty
        await found.stop()

    async def test_nobody(self) -> None:
        nobody = Directory({}, [])
        assert nobody.is_empty
        assert await nobody.find(address("tel:101")) == ()

    async def test_the_user_map_goes_first_and_everybody_is_there_once(self, tmp_path: Path) -> None:
        path = tmp_path / "people.csv"
        path.write_bytes(b"jid,name,number\nbob@x.org,Robert,101\nann@x.org,Anna,101\n")
        found = Directory({"ann@x.org": PhoneUser(devices=["PJSIP/101"], name="Ann")}, [path])
        assert await found.find(address("tel:101")) == (Holder(ANN, "Ann"), Holder(BOB, "Robert"))
        await found.stop()

    async def test_a_file_is_read_again_when_it_changes(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        path = tmp_path / "people.csv"

        def write(data: bytes, moment: int) -> None:
            path.write_bytes(data)
            os.utime(path, ns=(moment, moment))

        write(b"jid,number\nann@x.org,101\n", 1)
        found = Directory({}, [path])
        ask = address("tel:101")
        assert await found.find(ask) == (Holder(ANN),)
        write(b"jid,number\nbob@x.org,101\n", 2)
        assert await found.find(ask) == (Holder(BOB),)
        # A broken version: the last good one counts on, and it is said once.
        write(b"jid,number\n@,101\n", 3)
        assert [await found.find(ask) for _ in range(3)] == [(Holder(BOB),)] * 3
        assert found.complaint == f"{path}: line 2: '@' is not a Jabber ID: there is no domain behind the @"
        assert caplog.text.count("is not a Jabber ID") == 1
        write(b"jid,number\nann@x.org,101\n", 4)
        assert await found.find(ask) == (Holder(ANN),)
        assert f"{path} can be read again" in caplog.text
        path.unlink()
        assert await found.find(ask) == ()
        assert "No such file" in found.complaint
        await found.stop()

    async def test_at_the_start_files_are_read_however_long_it_takes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(directory, "LOOK_TIME", 0)
        path = tmp_path / "people.csv"
        path.write_bytes(b"jid,number\nann@x.org,101\n")
        found = Directory({}, [path])
        await found.start()
        assert await found.find(address("tel:101")) == (Holder(ANN),)
        await found.stop()

    @pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
    async def test_the_size_of_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, fits: bool
    ) -> None:
        monkeypatch.setattr(directory, "MAX_SIZE", 100)
        path = tmp_path / "people.csv"
        path.write_bytes(b"jid,number\nann@x.org,101\n".ljust(size, b"\n"))
        found = Directory({}, [path])
        assert bool(await found.find(address("tel:101"))) is fits
        assert ("larger than" in found.complaint) is not fits
        await found.stop()

    async def test_a_disk_that_hangs_does_not_hold_up_the_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        fifo = tmp_path / "people.csv"
        os.mkfifo(fifo)
        monkeypatch.setattr(directory, "START_TIME", 0.05)
        found = Directory({}, [fifo])
        await found.start()
        assert "contacts: the files are still being read" in caplog.text
        with fifo.open("wb") as file:
            file.write(b"jid,number\nbob@x.org,102\n")
        assert await found.find(address("tel:102")) == (Holder(BOB),)
        await found.stop()

    async def test_who_asks_while_it_ends_gets_what_was_read(self, tmp_path: Path) -> None:
        path = tmp_path / "people.csv"
        path.write_bytes(b"jid,number\nann@x.org,101\n")
        found = Directory({}, [path])
        await found.start()
        await found.stop()
        assert await found.find(address("tel:101")) == (Holder(ANN),)

    async def test_a_slow_disk_is_not_waited_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fifo = tmp_path / "people.csv"
        os.mkfifo(fifo)  # opening it waits until somebody writes
        monkeypatch.setattr(directory, "LOOK_TIME", 0.05)
        found = Directory({"ann@x.org": PhoneUser(devices=["PJSIP/101"])}, [fifo])
        assert await found.find(address("tel:101")) == (Holder(ANN),)
        with fifo.open("wb") as file:
            file.write(b"jid,number\nbob@x.org,102\n")
        await found.stop()
