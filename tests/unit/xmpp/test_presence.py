from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Caps, Jid, Presence, Show
from agi_xmpp.xmpp.presence import (
    CONTACT_LIMIT,
    RESOURCE_LIMIT,
    Decision,
    PresenceTracker,
    Subscription,
    decide,
)

BOB = parse("bob@example.org")
CAROL = parse("carol@example.org")


def at(resource: str, who: Jid = BOB) -> Jid:
    return Jid(who.local, who.domain, resource)


@pytest.fixture
def tracker() -> PresenceTracker:
    tracker = PresenceTracker([BOB])
    tracker.load_roster({})
    return tracker


def test_a_stranger_is_not_in_the_roster(tracker: PresenceTracker) -> None:
    assert tracker.look(CAROL) == Presence(Show.NOT_IN_ROSTER)
    assert tracker.look(at("x", CAROL)) == Presence(Show.NOT_IN_ROSTER)


def test_a_buddy_is_offline_until_seen(tracker: PresenceTracker) -> None:
    assert tracker.look(BOB) == Presence(Show.OFFLINE)
    assert tracker.look(at("phone")) == Presence(Show.OFFLINE, resource="phone")


def test_somebody_in_the_roster_counts_like_a_buddy() -> None:
    tracker = PresenceTracker()
    tracker.load_roster({CAROL: Subscription.NONE})
    assert tracker.look(CAROL) == Presence(Show.OFFLINE)


def test_all_that_a_presence_says_is_told(tracker: PresenceTracker) -> None:
    tracker.available(at("phone"), Show.AWAY, "at lunch", -3)
    assert tracker.look(BOB) == tracker.look(at("phone")) == Presence(Show.AWAY, "at lunch", "phone", -3)


def test_the_highest_priority_is_the_best(tracker: PresenceTracker) -> None:
    tracker.available(at("phone"), Show.AWAY, priority=5)
    tracker.available(at("desk"), Show.DND, priority=0)  # later, but lower
    assert tracker.look(BOB).resource == "phone"
    assert tracker.look(at("desk")).show is Show.DND


def test_among_equals_the_latest_is_the_best(tracker: PresenceTracker) -> None:
    tracker.available(at("phone"), Show.AWAY, priority=5)
    tracker.available(at("desk"), Show.DND, priority=5)
    assert tracker.look(BOB).resource == "desk"
    tracker.available(at("phone"), Show.ONLINE, priority=5)
    assert tracker.look(BOB) == Presence(Show.ONLINE, "", "phone", 5)


def test_a_negative_priority_is_there_but_best_only_if_alone(tracker: PresenceTracker) -> None:
    tracker.available(at("bot"), Show.CHAT, priority=-1)
    assert tracker.look(BOB).resource == "bot"
    tracker.available(at("phone"), Show.XA, priority=0)
    tracker.available(at("bot"), Show.CHAT, priority=-1)
    assert tracker.look(BOB).resource == "phone"


def test_who_leaves_is_gone(tracker: PresenceTracker) -> None:
    tracker.available(at("phone"), Show.ONLINE, priority=1)
    tracker.available(at("desk"), Show.ONLINE)
    tracker.unavailable(at("phone"))
    assert tracker.look(BOB).resource == "desk"
    tracker.unavailable(at("nowhere"))
    tracker.unavailable(at("desk"))
    tracker.unavailable(at("desk"))
    assert tracker.look(BOB).show is Show.OFFLINE


def test_unavailable_from_the_bare_address_means_everywhere(tracker: PresenceTracker) -> None:
    tracker.available(at("phone"), Show.ONLINE)
    tracker.available(at("desk"), Show.ONLINE)
    tracker.unavailable(BOB)
    assert tracker.look(BOB).show is Show.OFFLINE


def test_who_has_been_seen(tracker: PresenceTracker) -> None:
    assert tracker.seen() == []
    tracker.available(at("phone"), Show.DND)
    tracker.available(at("desk"), Show.ONLINE)
    assert tracker.seen() == [BOB]
    tracker.unavailable(BOB)
    assert tracker.seen() == []


def test_without_a_session_nobody_is_there_any_more(tracker: PresenceTracker) -> None:
    tracker.available(at("phone"), Show.ONLINE)
    tracker.clear()
    assert tracker.look(BOB).show is Show.OFFLINE


def test_presences_that_come_before_the_roster_count() -> None:
    tracker = PresenceTracker()
    tracker.available(at("phone", CAROL), Show.ONLINE)
    tracker.available(at("phone"), Show.ONLINE)
    tracker.load_roster({CAROL: Subscription.BOTH})
    assert tracker.look(CAROL).show is Show.ONLINE
    assert tracker.look(BOB).show is Show.NOT_IN_ROSTER
    tracker.update_roster(BOB, Subscription.TO)
    assert tracker.look(BOB).show is Show.OFFLINE  # a stranger's presence was not kept


def test_the_roster_changes() -> None:
    tracker = PresenceTracker()
    tracker.update_roster(CAROL, Subscription.TO)
    tracker.available(at("x", CAROL), Show.ONLINE)
    assert tracker.look(CAROL).show is Show.ONLINE
    assert not tracker.may_see_us(CAROL)
    tracker.update_roster(CAROL, Subscription.BOTH)
    assert tracker.may_see_us(at("x", CAROL))
    tracker.update_roster(CAROL, None)
    assert tracker.look(CAROL).show is Show.NOT_IN_ROSTER
    tracker.update_roster(CAROL, Subscription.TO)
    assert tracker.look(CAROL).show is Show.OFFLINE


@pytest.mark.parametrize("roster", [None, {}])
def test_other_buddies(roster: dict[Jid, Subscription] | None) -> None:
    tracker = PresenceTracker([BOB])
    if roster is not None:
        tracker.load_roster(roster)
    tracker.available(at("phone"), Show.ONLINE)
    tracker.change_buddies([at("x", CAROL)])
    assert [tracker.look(who).show for who in (BOB, CAROL)] == [Show.NOT_IN_ROSTER, Show.OFFLINE]
    assert tracker.unsubscribed_buddies() == [CAROL]
    assert tracker.seen() == ([BOB] if roster is None else [])  # before the roster comes, bob may be in it


def test_who_is_in_the_roster_stays_known_without_being_a_buddy() -> None:
    tracker = PresenceTracker([BOB])
    tracker.load_roster({BOB: Subscription.TO})
    tracker.available(at("phone"), Show.ONLINE)
    tracker.change_buddies([])
    assert tracker.look(BOB).show is Show.ONLINE


def test_a_buddy_removed_from_the_roster_stays_a_buddy(tracker: PresenceTracker) -> None:
    tracker.available(at("phone"), Show.ONLINE)
    tracker.update_roster(BOB, None)
    assert tracker.look(BOB).show is Show.ONLINE


@pytest.mark.parametrize(
    ("subscription", "missing", "sees_us"),
    [
        (Subscription.NONE, True, False),
        (Subscription.FROM, True, True),
        (Subscription.TO, False, False),
        (Subscription.BOTH, False, True),
    ],
)
def test_who_sees_whom(subscription: Subscription, missing: bool, sees_us: bool) -> None:
    tracker = PresenceTracker([BOB])
    tracker.load_roster({BOB: subscription})
    assert tracker.unsubscribed_buddies() == ([BOB] if missing else [])
    assert tracker.may_see_us(BOB) is sees_us


def test_strangers_presences_take_no_memory(tracker: PresenceTracker) -> None:
    for number in range(100):
        tracker.available(parse(f"user{number}@example.org/x"), Show.ONLINE)
    assert not tracker._seen


@pytest.mark.parametrize(("count", "kept"), [(CONTACT_LIMIT, CONTACT_LIMIT), (CONTACT_LIMIT + 1, CONTACT_LIMIT)])
def test_before_the_roster_their_number_is_limited(count: int, kept: int) -> None:
    tracker = PresenceTracker()
    for number in range(count):
        tracker.available(Jid(f"u{number}", "example.org", "x"), Show.ONLINE)
    assert len(tracker._seen) == kept


@pytest.mark.parametrize("count", [RESOURCE_LIMIT - 1, RESOURCE_LIMIT, RESOURCE_LIMIT + 1])
def test_the_resources_of_a_contact_are_limited_and_the_oldest_goes_first(tracker: PresenceTracker, count: int) -> None:
    for number in range(count):
        tracker.available(at(str(number)), Show.ONLINE)
    assert len(tracker._seen[BOB]) == min(count, RESOURCE_LIMIT)
    assert (tracker.look(at("0")).show is Show.ONLINE) is (count <= RESOURCE_LIMIT)
    assert tracker.look(at(str(count - 1))).show is Show.ONLINE


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-128, 127), st.booleans()), max_size=12))
def test_the_best_of_any_history(history: list[tuple[str, int, bool]]) -> None:
    tracker = PresenceTracker([BOB])
    there: dict[str, tuple[int, int]] = {}
    for moment, (resource, priority, available) in enumerate(history):
        if available:
            tracker.available(at(resource), Show.ONLINE, priority=priority)
            there[resource] = (priority, moment)
        else:
            tracker.unavailable(at(resource))
            there.pop(resource, None)
    best = max(there, key=lambda resource: there[resource], default="")
    assert tracker.look(BOB).resource == best


@pytest.mark.parametrize(
    ("policy", "who", "expected"),
    [
        ("accept", CAROL, Decision.APPROVE),
        ("buddies", at("phone"), Decision.APPROVE),
        ("buddies", CAROL, Decision.REFUSE),
        ("buddies", parse("bob@example.org.evil"), Decision.REFUSE),
        ("deny", BOB, Decision.REFUSE),
    ],
)
def test_subscription_policies(policy: Literal["accept", "buddies", "deny"], who: Jid, expected: Decision) -> None:
    assert decide(policy, who, [BOB]) is expected


def test_each_resource_with_its_capabilities(tracker: PresenceTracker) -> None:
    caps = Caps("sha-1", "urn:client", "v")
    tracker.available(at("phone"), Show.AWAY, caps=caps)
    tracker.available(at("desk"), Show.DND)
    tracker.available(at("x", CAROL), Show.DND, caps=caps)
    assert {seen.resource: seen.caps for seen in tracker.resources(BOB)} == {"phone": caps, "desk": None}
    assert [seen.resource for seen in tracker.resources(at("desk"))] == ["desk"]
    assert tracker.resources(at("other")) == tracker.resources(CAROL) == []
