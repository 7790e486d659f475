"""``[contacts]``: contact discovery."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from agi_xmpp.config.addresses import AnyJid, JidOrDomain
from agi_xmpp.config.base import Country, Section


class ContactsSettings(Section):
    """``[contacts]``: contact discovery: clients send numbers and mail addresses, and learn who has a Jabber ID.

    Attributes:
        account: the account that answers.
        country: two letters (ISO 3166) for numbers without a country code; empty: that of ``phone.book``.
        allow: domains and bare JIDs that may ask; empty: those of the account's server and of the user map.
        hidden: domains and bare JIDs that nobody finds.
        directory: ``.csv`` or ``.toml`` files with numbers and mail addresses of people, besides the user map; read
            again when they change.
        cache: seconds for which answers of the peers hold; unknown addresses, too. 0 keeps none.
        redis: address of a Redis that keeps them instead of our memory: ``redis://…``, ``rediss://…``, ``unix://…``.
        peers: services like us in other regions, asked for what we don't know; they may ask us.
        timeout: seconds after which the peers' answers are not waited for.
        max_addresses: addresses in one request.
        hourly, daily: addresses that one person may ask for within an hour, and within a day. Whoever could ask for
            every number would have a list of who owns which.
        requests: requests of one person within a minute.
    """

    account: str
    country: Country = ""
    allow: list[JidOrDomain] = []
    hidden: list[JidOrDomain] = []
    directory: list[Path] = []
    cache: Annotated[float, Field(ge=0, le=604_800)] = 3600.0
    redis: SecretStr | None = None
    peers: list[AnyJid] = []
    timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    max_addresses: Annotated[int, Field(ge=1, le=10_000)] = 500
    hourly: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    daily: Annotated[int, Field(ge=1, le=1_000_000)] = 5000
    requests: Annotated[int, Field(ge=1, le=1000)] = 20

    @field_validator("redis")
    @classmethod
    def _redis_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"(redis|rediss|unix)://.", value.get_secret_value()):
            raise ValueError("must begin with redis://, rediss:// or unix://")  # its text may hold a password
        return value

    @field_validator("directory")
    @classmethod
    def _readable_kinds(cls, value: list[Path]) -> list[Path]:
        for path in value:
            if path.suffix.lower() not in (".csv", ".toml"):
                raise ValueError(f"{path}: the name must end in .csv or .toml")
        return value
