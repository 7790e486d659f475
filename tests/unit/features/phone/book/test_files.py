from __future__ import annotations

import os
from pathlib import Path

import pytest

from agi_xmpp.errors import ConfigError
from agi_xmpp.features.phone.book import files as module
from agi_xmpp.features.phone.book.files import FileSource
from agi_xmpp.features.phone.book.model import Entry, SourceError
from agi_xmpp.features.phone.book.number import Number

ANN = Entry("Ann", source="file contacts.csv")


@pytest.fixture
def contacts(tmp_path: Path) -> Path:
    path = tmp_path / "contacts.csv"
    path.write_text("name,number\nAnn,101\n")
    return path


@pytest.fixture
async def source(contacts):
    source = FileSource(contacts)
    yield source
    await source.stop()


async def test_a_file_is_read_at_the_first_look_up(source):
    assert await source.find(Number("101")) == ANN
    assert await source.find(Number("102")) is None
    assert (source.name, source.numbers, source.skipped, source.complaint) == ("file contacts.csv", 1, 0, "")


async def test_both_kinds_of_files_are_read(tmp_path):
    path = tmp_path / "Contacts.TOML"
    path.write_text('[[contact]]\nname = "Ann"\nnumbers = ["030 1234567"]\n')
    source = FileSource(path, "DE")
    assert await source.find(Number("+49301234567", "+49301234567")) == Entry("Ann", source="file Contacts.TOML")
    await source.stop()


@pytest.mark.parametrize("name", ["contacts", "contacts.vcf", "contacts.csv.bak"])
def test_other_kinds_are_refused(name):
    with pytest.raises(ConfigError, match=rf"phone.book.files: /x/{name}: the name must end in .csv or .toml"):
        FileSource(Path("/x") / name)


async def test_a_changed_file_is_read_again(contacts, source):
    await source.find(Number("101"))
    contacts.write_text("name,number\nBob,101\n")
    assert await source.find(Number("101")) == Entry("Bob", source="file contacts.csv")


async def test_a_replaced_file_of_same_size_and_time_is_read_again(contacts, source):
    await source.find(Number("101"))
    old = contacts.stat()
    new = contacts.with_name("new")
    new.write_text("name,number\nBob,101\n")
    os.utime(new, ns=(old.st_atime_ns, old.st_mtime_ns))
    new.replace(contacts)
    assert await source.find(Number("101")) == Entry("Bob", source="file contacts.csv")


async def test_an_unchanged_file_is_not_read_again(contacts, source, monkeypatch):
    await source.find(Number("101"))
    monkeypatch.setattr(module, "_READERS", {})  # reading would fail with KeyError
    assert await source.find(Number("101")) == ANN


async def test_a_broken_version_keeps_the_old_one(contacts, source):
    await source.find(Number("101"))
    contacts.write_text('name,number\nAnn,101\n"Bob,102\n')
    for number, found in (("101", ANN), ("102", None)):
        with pytest.raises(SourceError) as caught:
            await source.find(Number(number))
        assert str(caught.value) == f"{contacts}: line 3: unexpected end of data"
        assert caught.value.found == found
    contacts.write_text("name,number\nBob,102\n")
    assert await source.find(Number("101")) is None
    assert await source.find(Number("102")) == Entry("Bob", source="file contacts.csv")


async def test_a_file_that_is_gone_has_nobody(contacts, source):
    await source.find(Number("101"))
    contacts.unlink()
    with pytest.raises(SourceError, match=r"contacts.csv: No such file or directory") as caught:
        await source.find(Number("101"))
    assert caught.value.found is None
    contacts.write_text("name,number\nAnn,101\n")
    assert await source.find(Number("101")) == ANN


async def test_a_file_that_cannot_be_read_keeps_the_old_version(contacts, source):
    await source.find(Number("101"))
    contacts.unlink()
    contacts.mkdir()
    with pytest.raises(SourceError, match="Is a directory") as caught:
        await source.find(Number("101"))
    assert caught.value.found == ANN


async def test_the_size_of_a_file_is_limited(contacts, source, monkeypatch):
    size = contacts.stat().st_size
    for limit in (size + 1, size):
        monkeypatch.setattr(module, "MAX_SIZE", limit)
        os.utime(contacts, ns=(limit, limit))
        assert await source.find(Number("101")) == ANN
    monkeypatch.setattr(module, "MAX_SIZE", size - 1)
    os.utime(contacts, ns=(1, 1))
    with pytest.raises(SourceError, match="larger than 0 MiB"):
        await source.find(Number("101"))
