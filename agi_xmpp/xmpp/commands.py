"""Commands that contacts execute (XEP-0050): the guests' commands, their forms, and what keeps a flood out.

The library's own responder knows commands of one step only, and fixed ones. Here a command may ask for a form first,
and what there is depends on who asks.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aioxmpp
import aioxmpp.adhoc.xso as adhoc
import aioxmpp.disco
import aioxmpp.disco.xso
import aioxmpp.forms
from aioxmpp import errors

from agi_xmpp.errors import Refused
from agi_xmpp.xmpp.errands import Errands
from agi_xmpp.xmpp.jid import inward
from agi_xmpp.xmpp.model import CommandResult, Field, Form, Guest, Jid
from agi_xmpp.xmpp.xso.command_list import COMMANDS

#: Seconds that somebody may take to fill in a form. Longer than any caller waits.
DIALOGUE_TTL = 600.0

#: Forms that one person may have open: a client opens another one where the first was closed without a word.
DIALOGUES_EACH = 5

#: Forms open at all: each takes less than 1 KB.
DIALOGUES = 1000


@dataclass(frozen=True, slots=True)
class _Dialogue:
    """A form that waits to be filled in."""

    who: Jid
    node: str
    expires_at: float


class Commands(aioxmpp.disco.Node):  # type: ignore[misc]
    """Answers for one account: who asks for the list gets it, and who executes a command gets its result.

    Args:
        clock: seconds, monotonic.
        guests: returns those whose commands these are.
        errands: bounds what executing a command takes.
    """

    def __init__(self, clock: Callable[[], float], guests: Callable[[], Iterable[Guest]], errands: Errands) -> None:
        super().__init__()
        self._clock = clock
        self._guests = guests
        self._errands = errands
        self._dialogues: OrderedDict[str, _Dialogue] = OrderedDict()
        self.register_identity("automation", "command-list")

    def install(self, client: Any) -> None:
        """Answer the requests that come in on a client of the library."""
        disco = client.summon(aioxmpp.DiscoServer)
        disco.register_feature(COMMANDS)
        disco.mount_node(COMMANDS, self)
        client.stream.register_iq_request_handler(aioxmpp.IQType.SET, adhoc.Command, self.execute)

    def iter_items(self, stanza: Any = None) -> Iterator[Any]:
        """Yield what the list of commands shows to the sender of ``stanza`` (XEP-0050 section 2.2)."""
        who = inward(stanza.from_)
        for guest in self._guests():
            for command in guest.commands(who):
                yield aioxmpp.disco.xso.Item(stanza.to, name=command.name, node=command.node)

    async def execute(self, iq: Any) -> Any:
        """Take one step of a command and return its payload.

        Raises:
            aioxmpp.errors.XMPPError: what the sender gets instead (XEP-0050 section 4.4).
        """
        request, who = iq.payload, inward(iq.from_)
        if request.sessionid is None:
            if request.action not in (adhoc.ActionType.EXECUTE, adhoc.ActionType.NEXT, adhoc.ActionType.COMPLETE):
                raise _bad_request("there is nothing to go back to", adhoc.BadAction())
            return await self._answer(request.node, secrets.token_hex(12), who, None)
        dialogue = self._dialogue(request, who)
        if request.action is adhoc.ActionType.CANCEL:
            del self._dialogues[request.sessionid]
            return adhoc.Command(request.node, status=adhoc.CommandStatus.CANCELED, sessionid=request.sessionid)
        if request.action is adhoc.ActionType.PREV:
            raise _bad_request("this command has one step only", adhoc.BadAction())
        if request.first_payload is None:
            raise _bad_request("the form is missing", adhoc.BadPayload())
        values = _values(request.first_payload)
        del self._dialogues[request.sessionid]  # a form that is sent twice while it is executed is executed once
        try:
            return await self._answer(request.node, request.sessionid, who, values)
        except errors.XMPPError:
            self._open(request.sessionid, dialogue)  # for another try
            raise

    async def _answer(self, node: str, session: str, who: Jid, values: Mapping[str, Sequence[str]] | None) -> Any:
        result = await self._errands.run(who, f"the command {node!r}", lambda: self._ask_guests(who, node, values))
        notes = [adhoc.Note(adhoc.NoteType.INFO, result.note)] if result.note else []
        if result.form is None:
            return adhoc.Command(node, status=adhoc.CommandStatus.COMPLETED, sessionid=session, notes=notes)
        self._open(session, _Dialogue(who, node, self._clock() + DIALOGUE_TTL))
        actions = adhoc.Actions()
        actions.complete_is_allowed = True
        actions.execute = adhoc.ActionType.COMPLETE
        return adhoc.Command(
            node,
            status=adhoc.CommandStatus.EXECUTING,
            sessionid=session,
            notes=notes,
            actions=actions,
            payload=[_data(result.form)],
        )

    async def _ask_guests(self, who: Jid, node: str, values: Mapping[str, Sequence[str]] | None) -> CommandResult:
        for guest in list(self._guests()):
            result = await guest.execute(who, node, values)
            if result is not None:
                return result
        raise Refused("there is no such command", "item-not-found")

    def _dialogue(self, request: Any, who: Jid) -> _Dialogue:
        dialogue = self._dialogues.get(request.sessionid)
        if dialogue is None or (dialogue.who, dialogue.node) != (who, request.node):
            raise _bad_request("there is no such form", adhoc.BadSessionID())
        if dialogue.expires_at <= self._clock():
            del self._dialogues[request.sessionid]
            raise errors.XMPPCancelError(
                aioxmpp.ErrorCondition.NOT_ALLOWED,
                text="the form was open for too long; execute the command again",
                application_defined_condition=adhoc.SessionExpired(),
            )
        return dialogue

    def _open(self, session: str, dialogue: _Dialogue) -> None:
        """Remember a form; the oldest of the same person, or of all, goes where there are too many."""
        self._dialogues.pop(session, None)
        own = [name for name, other in self._dialogues.items() if other.who.bare == dialogue.who.bare]
        if len(own) >= DIALOGUES_EACH:
            del self._dialogues[own[0]]
        self._dialogues[session] = dialogue
        if len(self._dialogues) > DIALOGUES:
            self._dialogues.popitem(last=False)


def _bad_request(text: str, condition: Any) -> errors.XMPPError:
    return errors.XMPPModifyError(
        aioxmpp.ErrorCondition.BAD_REQUEST, text=text, application_defined_condition=condition
    )


def _data(form: Form) -> Any:
    """Return a form as the library's (XEP-0004)."""
    data = aioxmpp.forms.Data(aioxmpp.forms.DataType.FORM)
    data.title = form.title
    if form.instructions:
        data.instructions.append(form.instructions)
    data.fields.extend(_field(field) for field in form.fields)
    return data


def _field(field: Field) -> Any:
    types = aioxmpp.forms.FieldType
    return aioxmpp.forms.Field(
        type_=types.LIST_SINGLE if field.options else types.TEXT_SINGLE,
        var=field.var,
        label=field.label,
        options=dict(field.options),
        values=[field.value] if field.value else [],
        required=field.required,
    )


def _values(data: Any) -> Mapping[str, Sequence[str]]:
    """Return a form that was filled in."""
    if data.type_ is not aioxmpp.forms.DataType.SUBMIT:
        raise _bad_request("the form is not filled in", adhoc.BadPayload())
    return {field.var: tuple(field.values) for field in data.fields if field.var}
