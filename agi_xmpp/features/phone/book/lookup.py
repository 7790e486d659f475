"""The phone book: asks its sources in order, within the time that a ringing phone leaves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cachetools import TTLCache

from agi_xmpp.config import BookSettings
from agi_xmpp.errors import ConfigError
from agi_xmpp.features.phone.book.command import CommandSource
from agi_xmpp.features.phone.book.directory import DirectorySource
from agi_xmpp.features.phone.book.files import FileSource
from agi_xmpp.features.phone.book.model import Entry, Source, SourceError
from agi_xmpp.features.phone.book.number import Number, is_country, read

log = logging.getLogger("agi_xmpp.phone.book")

#: Seconds for the first look at all files: 100,000 contacts take some of them. A disk that hangs must not keep us from
#: serving calls.
START_TIME = 10.0

#: Seconds that ending a late source may take before the call goes on without waiting for that, too.
GRACE = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """What one source says of a number.

    Attributes:
        source: its name.
        seconds: how long it took.
        entry: what it found.
        error: why it could not say; empty if it could.
    """

    source: str
    seconds: float
    entry: Entry | None = None
    error: str = ""


class Book:
    """The phone book. Without any source it knows nobody, and costs nothing.

    Sources are asked in this order: files, the command, the directory. The first that knows the number is believed.

    Args:
        settings: ``[phone.book]``.
        more: sources to ask after those of the settings.
        clock: seconds, monotonic.

    Raises:
        ConfigError: a source cannot work as it is configured.
    """

    def __init__(
        self, settings: BookSettings, more: Sequence[Source] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        if settings.country and not is_country(settings.country):
            raise ConfigError(f"phone.book.country: {settings.country!r} is no country of ISO 3166 (Britain is 'GB')")
        self._settings = settings
        self._files = [FileSource(path, settings.country) for path in settings.files]
        self._programs: list[Source] = []
        if settings.command:
            self._programs.append(CommandSource(settings.command))
        if settings.ldap:
            self._programs.append(DirectorySource(settings))
        self._programs += more
        self._cache: TTLCache[str, Entry | None] = TTLCache(settings.cache_limit, settings.cache, timer=clock)
        self._running: dict[str, asyncio.Task[Entry | None]] = {}
        self._complaints: dict[str, str] = {}
        self._stopped = False

    @property
    def problems(self) -> list[str]:
        """What is wrong with the sources, as far as it has shown."""
        return [f"phone book: {complaint}" for complaint in self._complaints.values()]

    @property
    def is_empty(self) -> bool:
        """True if there is no source: nobody is ever found."""
        return not self._sources()

    async def start(self) -> None:
        """Read the files, so that the first call finds them read and the log says what is wrong with them.

        A file that takes longer than `START_TIME` is read on; until then nobody is in it.
        """
        deadline = asyncio.get_running_loop().time() + START_TIME
        for source in self._files:
            answer = self._note(await _ask(source, Number(""), deadline))
            if not answer.error:
                log.info("phone book: %s", _contents(source))

    async def stop(self) -> None:
        """End look-ups that run, and let go of all; from now on nobody is known."""
        self._stopped = True
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for source in self._sources():
            await source.stop()

    async def lookup(self, number: str) -> Entry | None:
        """Return who has a number; None if no source knows within `BookSettings.timeout` seconds. Raises nothing.

        Args:
            number: as Asterisk says it; ``anonymous`` and the like are nobody's.
        """
        wanted = read(number, self._settings.country)
        if wanted is None or self._stopped:
            return None
        deadline = self._deadline()
        for source in self._files:
            answer = self._note(await _ask(source, wanted, deadline))
            if answer.entry is not None:
                return answer.entry
        return await self._ask_programs(wanted, deadline) if self._programs else None

    async def examine(self, number: str) -> list[Answer]:
        """Ask every source, each with the whole time and without the cache. Nothing is logged.

        Args:
            number: as for `lookup`; there are no answers if it is no number.
        """
        wanted = read(number, self._settings.country)
        return [] if wanted is None else [await _ask(source, wanted, self._deadline()) for source in self._sources()]

    def _sources(self) -> tuple[Source, ...]:
        return (*self._files, *self._programs)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._settings.timeout

    async def _ask_programs(self, number: Number, deadline: float) -> Entry | None:
        """Ask the command and the directory: from the cache, or once for all who ask for this number now."""
        key = number.best
        with contextlib.suppress(KeyError):
            return self._cache[key]
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._run_programs(number, deadline))
            task.add_done_callback(lambda _task: self._running.pop(key, None))
        # The task keeps the deadline itself, and then says which source was late. It is only waited for: whoever is
        # cancelled here does not take the answer from the others.
        left = deadline + GRACE - asyncio.get_running_loop().time()
        await asyncio.wait([task], timeout=left)
        return task.result() if task.done() and not task.cancelled() else None

    async def _run_programs(self, number: Number, deadline: float) -> Entry | None:
        failed = False
        for source in self._programs:
            answer = self._note(await _ask(source, number, deadline))
            if answer.entry is not None:
                self._cache[number.best] = answer.entry
                return answer.entry
            failed = failed or bool(answer.error)
        if not failed:  # an error is no answer: the next call asks again
            self._cache[number.best] = None
        return None

    def _note(self, answer: Answer) -> Answer:
        """Log what is wrong with a source, once until it changes."""
        known = self._complaints.pop(answer.source, "")
        if answer.error:
            self._complaints[answer.source] = answer.error
            if answer.error != known:
                log.error("phone book: %s", answer.error)
        elif known:
            log.info("phone book: %s works again", answer.source)
        return answer


async def check_files(settings: BookSettings, say: Callable[[str], None]) -> bool:
    """Read the files of the phone book and say what is wrong with them. Returns True if all is well.

    Args:
        settings: ``[phone.book]``.
        say: takes lines for the administrator.
    """
    well = True
    for path in settings.files:
        source = FileSource(path, settings.country)
        answer = await _ask(source, Number(""), deadline=None)
        say(f"phone book: FAILED: {answer.error}" if answer.error else f"phone book: {_contents(source)}")
        well = well and not answer.error
    return well


async def report(settings: BookSettings, number: str, say: Callable[[str], None]) -> bool:
    """Say what each source of the phone book knows of a number, how long it took, and what is wrong with it.

    Args:
        settings: ``[phone.book]``.
        number: as Asterisk would say it.
        say: takes lines for the administrator.

    Returns:
        True if every source could answer, whether it knows the number or not.

    Raises:
        ConfigError: a source cannot work as it is configured.
    """
    wanted = read(number, settings.country)
    if wanted is None:
        say(f"{number!r} is no number: nobody is looked up")
        return True
    say(f"{wanted.dialled}: " + (wanted.e164 or "no international number; it is looked up as it stands"))
    book = Book(settings)
    await book.start()
    try:
        answers = await book.examine(number)
    finally:
        await book.stop()
    if not answers:
        say("there is no source: set phone.book.files, command or ldap")
    for answer in answers:
        say(f"{answer.source}: {_verdict(answer)} ({answer.seconds * 1000:.0f} ms)")
    return not any(answer.error for answer in answers)


async def _ask(source: Source, number: Number, deadline: float | None) -> Answer:
    """Ask one source until ``deadline`` (the loop's time). Raises nothing but being cancelled."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    entry, error = None, ""
    try:
        async with asyncio.timeout_at(deadline):
            entry = await source.find(number)
    except SourceError as problem:
        entry, error = problem.found, str(problem)
    except TimeoutError:
        error = f"{source.name}: no answer in time"
    except Exception as problem:
        log.exception("phone book: %s failed", source.name)  # a mistake of ours; the call goes on without a name
        error = f"{source.name}: {type(problem).__name__}"
    return Answer(source.name, loop.time() - began, entry, error)


def _contents(source: FileSource) -> str:
    skipped = f"; {source.skipped} more texts there are no numbers" if source.skipped else ""
    return f"{source.name} has {source.numbers} number{'s' if source.numbers != 1 else ''}{skipped}"


def _verdict(answer: Answer) -> str:
    found = answer.entry
    words = []
    if found is not None:
        words.append("; ".join(filter(None, (found.name, found.company, found.link, found.avatar))))
    if answer.error:
        words.append(f"FAILED: {answer.error.removeprefix(f'{answer.source}: ')}")
    return "; ".join(words) or "does not know it"
