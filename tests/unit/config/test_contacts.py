"""``[contacts]``, and what of the user map is for look-ups."""

from __future__ import annotations

from typing import Any

import pytest

from agi_xmpp.config import ContactsSettings, Settings, parse
from agi_xmpp.errors import ConfigError


def read(account: dict[str, Any] | None = None, **contacts: Any) -> Settings:
    accounts = {"pbx": {"jid": "pbx@x.org", "password": "geheim", **(account or {})}}
    return parse({"account": accounts, "contacts": {"account": "pbx", **contacts}}, "test")


def refused(account: Any = None, **contacts: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(account, **contacts)
    return str(caught.value)


def section(**contacts: Any) -> ContactsSettings:
    settings = read(**contacts).contacts
    assert settings is not None
    return settings


def test_little_is_needed() -> None:
    settings = section()
    assert (settings.country, settings.allow, settings.peers, settings.redis) == ("", [], [], None)


@pytest.mark.parametrize(
    ("key", "low", "high"),
    [
        ("max_addresses", 1, 10_000),
        ("hourly", 1, 1_000_000),
        ("daily", 1, 1_000_000),
        ("requests", 1, 1000),
        ("cache", 0, 604_800),
    ],
)
def test_limits(key: str, low: int, high: int) -> None:
    for right in (low, high):
        assert getattr(section(**{key: right}), key) == right
    for wrong in (low - 1, high + 1):
        assert f"contacts.{key}: " in refused(**{key: wrong})


def test_the_time_for_peers() -> None:
    assert section(timeout=60).timeout == 60
    assert section(timeout=0.1).timeout == 0.1
    for wrong in (0, 60.1):
        assert "contacts.timeout: " in refused(timeout=wrong)


@pytest.mark.parametrize("key", ["allow", "hidden", "peers"])
def test_domains_and_people(key: str) -> None:
    assert getattr(section(**{key: ["x.org", "ann@x.org"]}), key) == ["x.org", "ann@x.org"]
    for wrong in ("", "a b", "@x.org", "a@b@c"):
        assert f"contacts.{key}.0: {wrong!r} is neither a " in refused(**{key: [wrong]})


def test_only_peers_have_resources() -> None:
    assert section(peers=["pbx@x.org/phone"]).peers == ["pbx@x.org/phone"]
    for key in ("allow", "hidden"):
        assert "is neither a bare Jabber ID" in refused(**{key: ["ann@x.org/phone"]})


def test_the_country() -> None:
    assert section(country="DE").country == "DE"
    assert "is no country" in refused(country="Germany")


def test_the_kinds_of_files() -> None:
    assert [path.name for path in section(directory=["/x/a.csv", "/x/b.TOML"]).directory] == ["a.csv", "b.TOML"]
    assert "contacts.directory: /x/a.vcf: the name must end in .csv or .toml" in refused(directory=["/x/a.vcf"])


@pytest.mark.parametrize("url", ["redis://h", "rediss://:geheim@h:1/2", "unix:///run/redis.sock"])
def test_redis(url: str) -> None:
    settings = section(redis=url)
    assert settings.redis is not None
    assert settings.redis.get_secret_value() == url
    assert "geheim" not in repr(settings)


@pytest.mark.parametrize("url", ["", "redis://", "http://x:geheim@h", "geheim"])
def test_what_is_no_redis(url: str) -> None:
    complaint = refused(redis=url)
    assert "contacts.redis: must begin with redis://, rediss:// or unix://" in complaint
    assert "geheim" not in complaint


def test_the_account() -> None:
    accounts = {"pbx": {"jid": "pbx@x.org", "password": "geheim"}}
    with pytest.raises(ConfigError, match="there is no account 'other'; known: pbx"):
        parse({"account": accounts, "contacts": {"account": "other"}}, "test")


def test_a_component_has_no_users_of_its_own() -> None:
    component = {"type": "component", "jid": "contacts.x.org"}
    assert "contacts.allow: a component has no users" in refused(component)
    assert read(component, allow=["x.org"])
    assert read({**component, "domain": "x.org"})


@pytest.mark.parametrize(
    ("key", "right", "wrong"),
    [
        ("numbers", ["+49 30 1234567", "(030) 123-45.67/8", "1", "1" * 64], ["", "bob", "+", "1" * 65, "tel:1"]),
        ("mails", ["ann@x.org", "a" * 248 + "@x.org"], ["", "ann", "@x", "mailto:a@x", "a" * 249 + "@x.org"]),
    ],
)
def test_numbers_and_mail_addresses_of_the_user_map(key: str, right: list[str], wrong: list[str]) -> None:
    def phone(value: str) -> Settings:
        user = {"ann@x.org": {"devices": ["PJSIP/101"], key: [value]}}
        return parse(
            {
                "account": {"pbx": {"jid": "pbx@x.org", "password": "geheim"}},
                "ami": {"username": "x", "password": "geheim"},
                "phone": {"account": "pbx", "context": "internal", "user": user},
            },
            "test",
        )

    for value in right:
        assert phone(value)
    for value in wrong:
        with pytest.raises(ConfigError, match=f"{key}"):
            phone(value)
