"""Notices: to whom, from which account, and what becomes of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from agi_xmpp.config import Settings, parse
from agi_xmpp.errors import (
    BadJid,
    BadText,
    Bounced,
    ConfigError,
    NotConfirmed,
    NotConnected,
    UnknownAccount,
    UsageError,
)
from agi_xmpp.features import notice
from agi_xmpp.features.notice import (
    RATE,
    SUBJECT_LENGTH,
    Report,
    account_of,
    addressees,
    check_subject,
    circle,
    say_goodbye,
    tell,
)
from agi_xmpp.xmpp.model import Extras, SessionState
from tests.unit.features.fakes import FOREVER, FakeSession

NOTICE = Extras(expects_answer=False, headline=True, subject="Tonight")

ACCOUNT: dict[str, Any] = {"jid": "a@x.org", "password": "s3cr3t-word", "buddies": ["bob@x.org", "carol@x.org"]}
PHONE = {
    "account": "us",
    "context": "internal",
    "user": {"ann@x.org": {"devices": ["PJSIP/101"]}, "Bob@x.org": {"devices": ["PJSIP/102"]}},
}


def settings(*names: str, phone: bool = False) -> Settings:
    data: dict[str, Any] = {"account": dict.fromkeys(names, ACCOUNT)}
    if phone:
        data |= {"phone": PHONE, "ami": {"username": "x", "password": "y"}}
    return parse(data, "test")


class TestAccount:
    def test_the_one_that_is_named(self):
        assert account_of(settings("eu", "us", phone=True), "EU") == "eu"

    def test_that_of_the_phones(self):
        assert account_of(settings("eu", "us", phone=True), None) == "us"

    def test_the_only_one(self):
        assert account_of(settings("eu"), None) == "eu"

    @pytest.mark.parametrize("names", [("eu", "us"), ()])
    def test_none_is_named_and_there_is_not_one(self, names):
        with pytest.raises(UsageError, match=r"--account NAME says it \(known: (eu, us|none)\)"):
            account_of(settings(*names), None)

    def test_there_is_none_of_that_name(self):
        with pytest.raises(UnknownAccount, match=r"no account 'asia' \(known: eu\)"):
            account_of(settings("eu"), "asia")


class TestAddressees:
    def test_each_once_whatever_the_resource_and_the_case(self):
        found = addressees(
            settings("us", phone=True), "us", ["BOB@x.org/pc", "dave@x.org"], all_users=True, buddies=True
        )
        assert found == ["bob@x.org", "dave@x.org", "ann@x.org", "carol@x.org"]

    @pytest.mark.parametrize(
        ("choice", "found"),
        [({"all_users": True}, ["ann@x.org", "bob@x.org"]), ({"buddies": True}, ["bob@x.org", "carol@x.org"])],
    )
    def test_a_group(self, choice, found):
        assert addressees(settings("us", phone=True), "us", [], **choice) == found

    def test_nobody(self):
        with pytest.raises(UsageError, match="nobody to tell: --to JID, --all-users or --buddies"):
            addressees(settings("us"), "us", [])

    def test_no_users(self):
        with pytest.raises(ConfigError, match=r"no \[phone\]"):
            addressees(settings("us"), "us", [], all_users=True)

    def test_no_jabber_id(self):
        with pytest.raises(BadJid, match="b@@c"):
            addressees(settings("us"), "us", ["bob@x.org", "b@@c"])

    @pytest.mark.parametrize(("count", "allowed"), [(2, True), (3, True), (4, False)])
    def test_so_many(self, count, allowed, monkeypatch):
        monkeypatch.setattr(notice, "MAX_PEOPLE", 3)
        people = [f"p{n}@x.org" for n in range(count)]
        if allowed:
            assert addressees(settings("us"), "us", people) == people
        else:
            with pytest.raises(UsageError, match="4 people are too many; at most 3"):
                addressees(settings("us"), "us", people)


@pytest.mark.parametrize("length", [1, SUBJECT_LENGTH - 1, SUBJECT_LENGTH])
def test_a_subject(length):
    assert check_subject("x" * length) == "x" * length


@pytest.mark.parametrize("subject", ["", " ", "a\nb", "a\u2028b", "x" * (SUBJECT_LENGTH + 1)])
def test_no_subject(subject):
    with pytest.raises(BadText, match="subject"):
        check_subject(subject)


class TestTell:
    def setup_method(self):
        self.pauses: list[float] = []

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def tell(self, session: FakeSession, *people: str) -> Report:
        return await tell(session, people, "Tonight", "No phones.", timeout=7.0, pause=self.pause)

    async def test_everybody_one_after_the_other_and_not_too_fast(self):
        session = FakeSession()
        assert await self.tell(session, "bob@x.org", "ann@x.org") == Report(2)
        assert session.calls == [
            ("send_message", (person, "No phones."), {"extras": NOTICE, "timeout": 7.0})
            for person in ("bob@x.org", "ann@x.org")
        ]
        assert len(self.pauses) == 2
        assert all(0 <= seconds <= 1 / RATE for seconds in self.pauses)
        assert max(self.pauses) > 0

    async def test_who_does_not_exist_keeps_nothing_from_the_others(self):
        class Session(FakeSession):
            async def send_message(self, to: str, *args: Any, **kwargs: Any) -> str:
                if to == "nobody@x.org":
                    raise Bounced("nobody@x.org: it came back", "service-unavailable")
                return "h"

        report = await self.tell(Session(), "ann@x.org", "nobody@x.org", "bob@x.org")
        assert report == Report(2, ("nobody@x.org: it came back",))

    @pytest.mark.parametrize("error", [NotConnected("away"), NotConfirmed("it broke")])
    async def test_without_a_connection_nobody_else_is_tried(self, error):
        session = FakeSession(send_message=error)
        assert await self.tell(session, "ann@x.org", "bob@x.org") == Report(0, (), str(error))
        assert len(session.calls) == 1

    async def test_what_cannot_be_sent_is_an_error(self):
        with pytest.raises(BadText, match="U\\+0001"):
            await self.tell(FakeSession(send_message=BadText("U+0001")), "ann@x.org")


class TestGoodbye:
    async def test_everybody_is_told_without_a_pause(self, monkeypatch):
        monkeypatch.setattr(notice, "RATE", 0.001)
        session = FakeSession()
        await say_goodbye(session, ["bob@x.org", "ann@x.org"], "Back at 8.")
        extras = dataclasses.replace(NOTICE, subject="Back at 8.")
        assert [(args, more["extras"]) for _, args, more in session.calls] == [
            ((person, "Back at 8."), extras) for person in ("bob@x.org", "ann@x.org")
        ]

    async def test_without_a_connection_nobody_is_waited_for(self):
        session = FakeSession()
        session.state = SessionState.WAITING
        await say_goodbye(session, ["bob@x.org"], "Back at 8.")
        assert session.calls == []

    async def test_the_time_is_limited(self, monkeypatch, caplog):
        monkeypatch.setattr(notice, "GOODBYE_TIME", 0.01)
        await say_goodbye(FakeSession(send_message=FOREVER), ["bob@x.org"], "Back at 8.")
        assert "account pbx: stop_notice: 1 were not told: 0.01 s are over" in caplog.text

    async def test_a_connection_that_breaks_ends_it(self, caplog):
        session = FakeSession(send_message=NotConnected("away"))
        await say_goodbye(session, ["bob@x.org", "ann@x.org"], "Back at 8.")
        assert "stop_notice: 2 were not told: away" in caplog.text

    @pytest.mark.parametrize(
        ("account", "people"),
        [("us", ["bob@x.org", "carol@x.org", "ann@x.org"]), ("eu", ["bob@x.org", "carol@x.org"])],
    )
    def test_to_whom(self, account, people):
        assert circle(settings("eu", "us", phone=True), account) == people


def test_parts_add_up():
    assert Report(2, ("a",)) + Report(1, ("b",), "away") == Report(3, ("a", "b"), "away")
