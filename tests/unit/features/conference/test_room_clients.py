"""Whatever happens in a room: what each client was told of who is in, is who is in."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation, Role
from agi_xmpp.features.conference.room.nicks import folded
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.hall import Client, Hall, codes, item, jid

#: Romeo has two clients, and may be in with one nick or with two.
CLIENTS = ["romeo@example.org/a", "romeo@example.org/b", "juliet@example.org/a", "nurse@other.example/a"]
NICKS = ["Romeo", "ROMEO", "Juliet", "Alice", "alice (2)", "Somebody", " Somebody  else ", ""]
NAMES = ["Alice", "alice", "Romeo", ""]
PEOPLE = ["romeo@example.org", "juliet@example.org", "nurse@other.example", "other.example", "101@phone.example.org"]

clients = st.sampled_from(CLIENTS)
nicks = st.sampled_from(NICKS)
numbers = st.sampled_from(["101", "102", "103"])


class Clients(RuleBasedStateMachine):
    """A room, four clients of three people, and three phones."""

    def __init__(self) -> None:
        super().__init__()
        self.hall = Hall({"juliet@example.org": Affiliation.OWNER}, max_occupants=3)
        self.clients = {full: Client(full) for full in CLIENTS}

    @property
    def room(self):
        return self.hall.room

    def told(self, sent) -> None:
        for client in self.clients.values():
            client.take(sent)

    def take(self) -> None:
        self.told(self.hall.outside.take())

    @rule(full=clients, nick=nicks, show=st.sampled_from(["", "<show>away</show>"]))
    def join(self, full, nick, show):
        client = self.clients[full]
        sent = self.hall.join(full, nick, show)
        self.told(sent)
        errors = [one for one in sent if one.get("type") == "error"]
        if not errors:
            # Always in this order: the others, oneself, what was said, the subject.
            mine = [one for one in sent if one.get("to") == full]
            assert mine[-1].find(f"{{{stanzas.CLIENT}}}subject") is not None
            last_presence = max(index for index, one in enumerate(mine) if one.tag == stanzas.PRESENCE)
            assert 110 in codes(mine[last_presence])
            assert client.is_in
        else:
            assert len(sent) == 1
            assert errors[0].get("to") == full

    @rule(full=clients, nick=nicks)
    def presence(self, full, nick):
        self.told(self.hall.presence(full, nick))

    @rule(full=clients, nick=nicks)
    def leave(self, full, nick):
        self.told(self.hall.presence(full, nick, kind="unavailable"))
        assert not self.clients[full].is_in

    @rule(full=clients)
    def vanish(self, full):
        gone = "<error><recipient-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        self.told(self.hall.message(full, gone, kind="error"))
        assert not self.clients[full].is_in

    @rule(full=clients)
    def speak(self, full):
        sent = self.hall.say(full, "hello")
        heard = {one.get("to") for one in sent if one.get("type") == "groupchat"}
        occupant = self.room.occupant_of(jid(full))
        may = occupant is not None and occupant.role is not Role.VISITOR
        assert heard == ({one for one, client in self.clients.items() if client.is_in} if may else set())

    @rule(number=numbers, name=st.sampled_from(NAMES), muted=st.booleans())
    def phone_joins(self, number, name, muted):
        self.told(self.hall.phone_joins(phone(name, number, muted=muted)))

    @rule(number=numbers, name=st.sampled_from(NAMES), muted=st.booleans())
    def phone_changes(self, number, name, muted):
        self.room.phone_changed(phone(name, number, muted=muted))
        self.take()

    @rule(number=numbers)
    def phone_leaves(self, number):
        self.room.phone_left(f"PJSIP/{number}-00000001")
        self.take()

    @rule(nick=nicks, role=st.sampled_from(Role), by=nicks)
    def set_role(self, nick, role, by):
        self.room.set_role(nick, role, self.room.occupants.get(by), "so")
        for channel in self.hall.outside.kicked:
            self.room.phone_left(channel)
        self.hall.outside.kicked.clear()
        self.take()

    @rule(person=st.sampled_from(PEOPLE), affiliation=st.sampled_from(Affiliation))
    def set_affiliation(self, person, affiliation):
        self.room.set_affiliation(jid(person), affiliation, None)
        self.take()

    @rule(members_only=st.booleans(), moderated=st.booleans())
    def configure(self, members_only, moderated):
        self.room.set_config(replace(self.room.config, members_only=members_only, moderated=moderated))
        self.take()

    @rule()
    def shut_down(self):
        self.room.shut_down()
        self.take()
        assert not any(client.is_in for client in self.clients.values())

    @invariant()
    def each_client_knows_who_is_in(self):
        members = self.hall.members()
        for full, client in self.clients.items():
            occupant = self.room.occupant_of(jid(full))
            assert client.nick == (occupant.nick if occupant is not None else "")
            assert client.members == (members if occupant is not None else {})

    @invariant()
    def nobody_is_in_who_may_not_be(self):
        for occupant in self.room.occupants.values():
            assert occupant.affiliation is self.room.affiliation_of(occupant.jid)
            assert occupant.affiliation is not Affiliation.OUTCAST
            assert occupant.role is not Role.NONE
            assert occupant.sessions
            if self.room.config.members_only:
                assert occupant.affiliation is not Affiliation.NONE

    @invariant()
    def no_two_names_look_alike(self):
        names = [folded(nick) for nick in self.hall.members()]
        assert len(names) == len(set(names))
        assert len(names) == len(self.room.occupants) + len(self.room.phones)
        assert all(nick == occupant.nick for nick, occupant in self.room.occupants.items())

    @invariant()
    def real_addresses_are_for_moderators(self):
        sent = []
        for full in CLIENTS:
            occupant = self.room.occupant_of(jid(full))
            if occupant is not None and occupant.role is not Role.MODERATOR:
                sent = [one for one in self.hall.join(full, occupant.nick) if one.get("to") == full]
                break
        for one in sent:
            if one.tag == stanzas.PRESENCE and 110 not in codes(one):
                assert "jid" not in item(one)


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
