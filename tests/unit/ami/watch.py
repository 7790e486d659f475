"""Checks that what `Calls` tells about people's calls makes sense, change by change."""

from __future__ import annotations

from collections.abc import Iterable

from agi_xmpp.ami.calls import Answered, Call, Calls, Change, Dialled, Ended, Phase, Rang, Restored, Updated


class Watch:
    """Follows the changes of one `Calls`, as its users do.

    Attributes:
        live: what was told last of each call that is not over, by owner and id.
        over: the calls that have ended.
    """

    def __init__(self) -> None:
        self.live: dict[tuple[str, str], Call] = {}
        self.over: set[tuple[str, str]] = set()

    def take(self, changes: Iterable[Change]) -> None:
        """Check the changes one after the other."""
        for change in changes:
            key = (change.call.owner, change.call.id)
            before = self.live.get(key)
            assert key not in self.over, f"{change} after the end"
            self._check(before, change)
            if isinstance(change, Ended):
                self.over.add(key)
                self.live.pop(key, None)
            else:
                self.live[key] = change.call

    def agrees(self, calls: Calls) -> None:
        """Check that ``calls`` says of each call what it told last, and that only untold ones are besides."""
        now = {(call.owner, call.id): call for call in calls.all()}
        assert self.live.keys() <= now.keys(), "a call vanished and nobody was told"
        for key, call in now.items():
            if key in self.live:
                told = self.live[key]
                assert (call.phase, call.party, call.device, call.channel, call.held) == (
                    *(told.phase, told.party, told.device, told.channel, told.held),
                )
            else:
                assert call.phase is Phase.OPENING, f"nobody was told of {call}"
            assert calls.find(call.id, call.owner) == call
        for owner in {owner for owner, _ in now} | {owner for owner, _ in self.over}:
            talks = any(call.phase is Phase.TALKING for (whose, _), call in self.live.items() if whose == owner)
            assert calls.is_busy(owner) is talks

    def _check(self, before: Call | None, change: Change) -> None:
        call = change.call
        match change:
            case Rang():
                assert before is None
                assert (call.phase, call.incoming, call.clicked) == (Phase.RINGING, True, False)
            case Dialled():
                assert before is None
                assert (call.phase, call.incoming) == (Phase.DIALLING, False)
            case Restored():
                assert before is None
                assert call.phase in (Phase.RINGING, Phase.DIALLING, Phase.TALKING)
            case Answered():
                assert before is None or before.phase is not Phase.TALKING
                assert call.phase is Phase.TALKING
                assert call.answered is not None
            case Updated():
                assert before is not None
                assert before.phase is call.phase
                assert before != call
            case Ended():
                assert call.phase is Phase.OVER
        if before is not None:
            assert (before.incoming, before.clicked, before.began) == (call.incoming, call.clicked, call.began)
            assert before.answered in (None, call.answered)
        assert (call.source == "") or (call.phase is Phase.RINGING) or isinstance(change, Ended)
        assert not call.source.startswith("Local/")


def is_empty(calls: Calls) -> bool:
    """Return True if nothing of a channel is kept; what is remembered of ended calls is limited and does not count."""
    kept = ("_legs", "_calls", "_latest", "_clicks", "_talks", "_bridges", "_locals", "_touched", "_changes")
    return not any(getattr(calls, name) for name in kept) and calls.all() == [] and calls.next_deadline() is None
