from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.features.phone.book.contacts import ContactsError, Index, read_csv, read_toml
from agi_xmpp.features.phone.book.model import Entry
from agi_xmpp.features.phone.book.number import read


def find(index: Index, text: str) -> Entry | None:
    number = read(text, "DE")
    assert number is not None
    return index.find(number)


def test_csv_as_people_write_it():
    index = read_csv(
        b"name,number,company,link,avatar\n"
        b'"Lee, Ann",030 1234567,Example Ltd,https://crm.example.org/1,https://example.org/a.png\n'
        b"\n"
        b"Bob,101\n"
        b",102,Reception\n"
        b"Carol,\n"
        b",103\n",
        "DE",
        "file x.csv",
    )
    assert find(index, "+49301234567") == Entry(
        "Lee, Ann", "Example Ltd", "https://crm.example.org/1", "https://example.org/a.png", "file x.csv"
    )
    assert find(index, "101") == Entry("Bob", source="file x.csv")
    assert find(index, "102") == Entry("Reception", source="file x.csv")
    assert find(index, "103") is None
    assert (index.numbers, index.skipped) == (3, 0)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv_of_any_program(delimiter, bom, newline):
    rows = [["Name", "Number 1", "number_2", "Firma"], ["Zoë; Ltd, x", "101", "102", "x"]]
    text = newline.join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    index = read_csv(bom + text.encode())
    for number in ("101", "102"):
        assert find(index, number) == Entry("Zoë; Ltd, x")


def test_csv_exported_by_google_contacts():
    # The headings of contacts.google.com, "Google CSV"; several values of a kind stand in one cell.
    index = read_csv(
        b"First Name,Middle Name,Last Name,Organization Name,Photo,E-mail 1 - Label,E-mail 1 - Value,Phone 1 - Label,"
        b"Phone 1 - Value,Phone 2 - Label,Phone 2 - Value,Website 1 - Label,Website 1 - Value\n"
        b"Ann,,Lee,Example Ltd,https://example.org/ann.jpg,,ann@example.org,Mobile,"
        b"+49 170 1234567 ::: 0301234567,Work,101,Profile,https://example.org/ann\n",
        "DE",
    )
    ann = Entry("Ann Lee", "Example Ltd", "https://example.org/ann", "https://example.org/ann.jpg")
    for number in ("01701234567", "+49301234567", "101"):
        assert find(index, number) == ann
    assert (index.numbers, index.skipped) == (3, 0)


def test_csv_exported_by_outlook():
    index = read_csv(
        b"First Name,Middle Name,Last Name,Company,Assistant's Phone,Business Phone,Business Phone 2,Mobile Phone,"
        b"Manager's Phone,Company Main Phone,Web Page\n"
        b"Ann,M.,Lee,Example Ltd,030 1111111,030 1234567,030 7654321,0170 1234567,030 2222222,030 3333333,https://example.org\n",
        "DE",
    )
    for number in ("0301234567", "0307654321", "01701234567", "0303333333"):
        assert find(index, number) == Entry("Ann M. Lee", "Example Ltd", "https://example.org")
    for number in ("0301111111", "0302222222"):
        assert find(index, number) is None


def test_the_first_of_two_with_one_number_has_it():
    index = read_csv(b"name,number\nAnn,030 1234567\nBob,+49301234567\n", "DE")
    assert find(index, "0301234567") == Entry("Ann")


def test_what_is_no_number_is_counted():
    index = read_csv(b"name,number\nAnn,see below\nBob,101\n")
    assert (index.numbers, index.skipped) == (1, 1)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", 'line 1: no heading for numbers, such as "number" or "phone"'),
        (b"name,colour\n", 'line 1: no heading for numbers, such as "number" or "phone"'),
        (b"number,colour\n101,red\n", 'line 1: no heading for names, such as "name"'),
        (b"name,number\nAnn,101\nBob,102,more\n", "line 3: more cells than headings"),
        (b'name,number\nAnn,101\n"Bob,102\n', "line 3: unexpected end of data"),
        (b'name,number\n"Ann" Lee,101\n', "line 2: ',' expected after '\"'"),
        (b"name,number\nAnn,101\nJ\xfcrgen,102\n", "line 3: not UTF-8 text; save it as UTF-8"),
        (b"name,number\rAnn,101\rBob,102,x\r", "line 3: more cells than headings"),
        (b"\r\0", 'line 1: no heading for numbers, such as "number" or "phone"'),
        (b"x" * 200_000, "line 1: field larger than field limit (131072)"),
        (b"\xff\xfen\0a\0", "line 1: not UTF-8 text; save it as UTF-8"),
        (b"name,number\n" + b"x" * 200_000 + b",101\n", "line 2: field larger than field limit (131072)"),
    ],
)
def test_a_broken_csv_is_an_error_with_its_line(data, complaint):
    with pytest.raises(ContactsError) as caught:
        read_csv(data)
    assert str(caught.value) == complaint


def test_empty_cells_behind_the_last_heading_are_no_error():
    assert find(read_csv(b"name,number\nAnn,101,,\n"), "101") == Entry("Ann")


TOML = """
[[contact]]
name = "Ann Lee"
numbers = ["030 1234567", "0170 1234567", 101]
company = "Example Ltd"
link = "https://crm.example.org/1"
avatar = "https://example.org/a.png"

[[contact]]
name = "Bob"
numbers = []
"""


@pytest.mark.parametrize("text", [TOML, TOML.replace("\n", "\r\n"), "\ufeff" + TOML])
def test_toml(text):
    index = read_toml(text.encode(), "DE", "file x.toml")
    for number in ("+49301234567", "01701234567", "101"):
        assert find(index, number) == Entry(
            "Ann Lee", "Example Ltd", "https://crm.example.org/1", "https://example.org/a.png", "file x.toml"
        )
    assert index.numbers == 3


def test_an_empty_toml_is_an_empty_list():
    assert read_toml(b"").numbers == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[contact]\n", "not valid TOML: Expected ']]' at the end of an array declaration (at line 1, column 10)"),
        ("a = " + "[" * 50_000, "not valid TOML: brackets in brackets in brackets, too deep"),
        ("[[contact]]\nnumbers = []\n", "contact 1: name: field required"),
        ('[[contact]]\nname = "A"\nnumbers = "1"\n', "contact 1: numbers: input should be a valid list"),
        (TOML + 'phone = "1"\n', "contact 2: phone: unknown key; known here: name, numbers, company, link, avatar"),
        ("[[person]]\n", "person: unknown key; known here: [[contact]] alone"),
        ("contact = 1\n", "contact: input should be a valid list"),
    ],
)
def test_a_broken_toml_is_an_error_with_its_place(text, complaint):
    with pytest.raises(ContactsError) as caught:
        read_toml(text.encode())
    assert str(caught.value) == complaint


@given(st.binary(max_size=200))
@pytest.mark.parametrize(
    ("reader", "head"),
    [(read_csv, b"name,number\n"), (read_csv, b""), (read_toml, b"[[contact]]\n"), (read_toml, b"")],
)
def test_whatever_is_in_a_file_only_our_error_comes_out(reader, head, data):
    with contextlib.suppress(ContactsError):
        assert isinstance(reader(head + data, "DE"), Index)
