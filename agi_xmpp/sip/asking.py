"""A request with its credentials: sent again when Asterisk asks who we are (RFC 3261 section 22.2). Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sipmessage import Request, Response

from agi_xmpp.sip.digest import Digest
from agi_xmpp.sip.transactions import TIMEOUT, Client, Failure, Outcome, Transactions

#: Tries at the most: one with the credentials of before, one with new ones, and some whose nonce became stale.
_MAX_TRIES: Final = 4


class Asking:
    """Sends a request, with new credentials where they are asked for. Make it, then `begin`.

    Args:
        transactions, digest: of the agent.
        make: returns the request; each time with its next CSeq.
        outcome: is told what becomes of it; a challenge only if we cannot answer it, or our answer was refused.
        patience: seconds for each try.
    """

    def __init__(
        self,
        transactions: Transactions,
        digest: Digest,
        make: Callable[[], Request],
        outcome: Outcome,
        patience: float = TIMEOUT,
    ) -> None:
        self._transactions = transactions
        self._digest = digest
        self._make = make
        self._outcome = outcome
        self._patience = patience
        self._tries = 0
        self._answers_challenge = False
        self._client: Client | None = None

    @property
    def heard(self) -> bool:
        """True once Asterisk has said that it is at it."""
        return self._client is not None and self._client.heard

    def cancel(self, outcome: Outcome) -> None:
        """Cancel an INVITE that was heard."""
        if self._client is not None:
            self._transactions.cancel(self._client, outcome)

    def begin(self) -> None:
        """Send it, or send it again."""
        self._tries += 1
        request = self._make()
        self._digest.authorize(request)
        self._client = self._transactions.request(request, self, self._patience)

    def responded(self, response: Response) -> None:
        """Take a response; see `agi_xmpp.sip.transactions.Outcome`."""
        if response.code in (401, 407) and self._tries < _MAX_TRIES:
            challenge = self._digest.learn(response)
            # Refusing an answer to its own challenge, Asterisk says that the password is wrong, unless it is stale.
            if challenge is not None and (challenge.stale or not self._answers_challenge):
                self._answers_challenge = True
                self.begin()
                return
        self._outcome.responded(response)

    def failed(self, failure: Failure) -> None:
        """Take a failure."""
        self._outcome.failed(failure)
