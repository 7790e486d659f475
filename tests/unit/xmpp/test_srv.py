from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.rdata
import dns.resolver
import pytest

from agi_xmpp.xmpp.srv import LOOKUP_TIMEOUT, NoService, Record, Target, find, lookup, order

Answers = Mapping[str, list[Record] | OSError]
PLAIN = "_xmpp-client._tcp.example.org."
DIRECT = "_xmpps-client._tcp.example.org."
NONE = [Record(0, 0, ".", 0)]


async def places(answers: Answers, *, direct_only: bool = False) -> list[str]:
    asked = []

    async def ask(name: str) -> list[Record]:
        asked.append(name)
        answer = answers.get(name, [])
        if isinstance(answer, OSError):
            raise answer
        return answer

    targets = await find("example.org", direct_only=direct_only, ask=ask, dice=lambda: 0.0)
    assert asked == ([DIRECT] if direct_only else [PLAIN, DIRECT])
    return [f"{target}{' direct' if target.direct_tls else ''}" for target in targets]


async def test_without_records_it_is_the_domain_itself() -> None:
    assert await places({}) == ["example.org:5222"]
    assert await places({}, direct_only=True) == ["example.org:5223 direct"]


async def test_records_of_both_kinds_are_one_list_by_priority() -> None:
    answers = {
        PLAIN: [Record(10, 1, "b.test", 5222), Record(30, 1, "d.test", 5222)],
        DIRECT: [Record(5, 1, "a.test", 443), Record(20, 1, "c.test", 5223)],
    }
    assert await places(answers) == ["a.test:443 direct", "b.test:5222", "c.test:5223 direct", "d.test:5222"]
    assert await places(answers, direct_only=True) == ["a.test:443 direct", "c.test:5223 direct"]


async def test_a_domain_with_one_kind_is_used_with_that() -> None:
    assert await places({DIRECT: [Record(0, 0, "a.test", 443)]}) == ["a.test:443 direct"]
    assert await places({PLAIN: NONE, DIRECT: [Record(0, 0, "a.test", 443)]}) == ["a.test:443 direct"]
    assert await places({PLAIN: [Record(0, 0, "a.test", 1)], DIRECT: NONE}) == ["a.test:1"]


async def test_a_domain_that_says_it_has_no_service_is_believed() -> None:
    for answers in ({PLAIN: NONE, DIRECT: NONE}, {PLAIN: NONE}):
        with pytest.raises(NoService, match=r"example\.org says in its SRV records that it has no XMPP service"):
            await places(answers)
    with pytest.raises(NoService):
        await places({PLAIN: [Record(0, 0, "a.test", 1)], DIRECT: NONE}, direct_only=True)


async def test_a_dns_that_does_not_answer_stops_nothing() -> None:
    down = OSError("no name server")
    assert await places({PLAIN: down, DIRECT: down}) == ["example.org:5222"]
    assert await places({PLAIN: down, DIRECT: [Record(0, 0, "a.test", 443)]}) == ["a.test:443 direct"]


async def test_a_fault_of_ours_is_not_hidden() -> None:
    async def ask(_name: str) -> list[Record]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await find("example.org", direct_only=False, ask=ask)


def test_weights_decide_among_equals() -> None:
    records = [(Record(0, 10, "small", 1), False), (Record(0, 90, "big", 1), False), (Record(1, 0, "last", 1), False)]
    dice = random.Random(1)
    first = Counter(order(records, dice.random)[0][0].host for _ in range(1000))
    assert first["last"] == 0
    assert 850 < first["big"] < 950
    assert all(order(records, dice.random)[2][0].host == "last" for _ in range(10))


def test_a_weight_of_0_is_drawn_too_when_it_is_alone() -> None:
    assert [record.host for record, _ in order([(Record(0, 0, "a", 1), False)], lambda: 0.999)] == ["a"]
    both = [(Record(0, 0, "a", 1), False), (Record(0, 0, "b", 1), True)]
    assert sorted(record.host for record, _ in order(both, lambda: 0.5)) == ["a", "b"]


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert str(Target("::1", 5222, direct_tls=False)) == "[::1]:5222"


async def test_records_come_from_the_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    async def resolve(name: str, kind: str, **options: object) -> list[dns.rdata.Rdata]:
        asked.update(name=name, kind=kind, **options)
        return [
            dns.rdata.from_text("IN", "SRV", "5 10 5269 Host.Example.ORG."),
            dns.rdata.from_text("IN", "SRV", "0 0 0 ."),
        ]

    monkeypatch.setattr(dns.asyncresolver, "resolve", resolve)
    assert await lookup(PLAIN) == [Record(5, 10, "Host.Example.ORG", 5269), Record(0, 0, ".", 0)]
    assert asked == {"name": PLAIN, "kind": "SRV", "lifetime": LOOKUP_TIMEOUT, "search": False}


@pytest.mark.parametrize("error", [dns.resolver.NXDOMAIN(), dns.resolver.NoAnswer(response=dns.message.Message())])
async def test_no_such_name_is_no_records(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def resolve(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(dns.asyncresolver, "resolve", resolve)
    assert await lookup(PLAIN) == []


@pytest.mark.parametrize("error", [dns.resolver.NoNameservers(), dns.exception.Timeout(), dns.name.LabelTooLong()])
async def test_every_failure_of_the_dns_is_an_oserror(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def resolve(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(dns.asyncresolver, "resolve", resolve)
    with pytest.raises(OSError, match=type(error).__name__):
        await lookup(PLAIN)
