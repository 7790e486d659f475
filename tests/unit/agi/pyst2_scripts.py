"""Scripts as they are written for pyst2. `load_callable` imports this module; nothing here knows of agi-xmpp."""

import sys
import threading

from asterisk.agi import AGI, AGIAppError, AGIDBError, AGIHangup, AGIInvalidCommand, AGIUsageError

#: What scripts saw, for the tests.
SEEN: list = []
RELEASE = threading.Event()


def program():
    """A whole program: it makes its own AGI and ends by sys.exit()."""
    agi = AGI()
    agi.verbose("python agi started")
    caller = agi.env["agi_callerid"]
    agi.set_variable("GREETING", f'say "hi" to {caller}')
    if agi.get_variable("MISSING") == "" and agi.get_variable("WORD") == "hangup":
        agi.appexec("Playback", "beep")
    sys.exit(0)


def with_argument(agi):
    SEEN.append((type(agi).__name__, isinstance(agi, AGI), threading.current_thread() is threading.main_thread()))


def subclass():
    class Mine(AGI):  # type: ignore[misc]
        def greet(self):
            return self.get_variable("WORD")

    SEEN.append(Mine().greet())


def errors(agi):
    for attempt in (
        lambda: agi.execute("NONSENSE"),
        lambda: agi.execute("SAY", "x"),
        lambda: agi.appexec("NoSuchApp"),
        lambda: agi.stream_file("missing"),
        lambda: agi.database_get("family", "key"),
        lambda: agi.verbose("two\nlines"),
        lambda: agi.set_variable("A B", "x"),
        lambda: agi.set_variable("X", "nul\0"),
        lambda: agi.answer(),
        lambda: agi.get_result(),
    ):
        try:
            attempt()
        except AGIHangup as error:
            SEEN.append(("AGIHangup", type(error).__name__))
        except AGIDBError as error:
            SEEN.append(("AGIDBError", str(error)))
        except AGIAppError as error:
            SEEN.append(("AGIAppError", str(error)))
        except (AGIInvalidCommand, AGIUsageError) as error:
            SEEN.append((type(error).__name__, str(error).partition("\n")[0]))
        except Exception as error:
            SEEN.append((type(error).__name__, ""))


def waits(agi):
    """Blocked in a command when the caller hangs up; then sets a variable, then gives up."""
    try:
        agi.wait_for_digit(60000)
    except AGIHangup as error:
        agi.set_variable("REASON", type(error).__name__)
        raise


def database(agi):
    agi.database_put("fam ily", "key", 'a "b"')
    SEEN.append(agi.database_get("fam ily", "key"))
    agi.database_deltree("fam ily")
    try:
        agi.database_deltree("fam ily")
    except AGIDBError as error:
        SEEN.append(str(error))


def texts(agi):
    agi.set_variable("TEXT", "a\nb :-) c:\n")
    SEEN.append(agi.get_variable("LONG"))
    agi.set_variable("CHANNEL(language)", "de")


def file(agi):
    SEEN.append(agi.stream_file("my file", ["1", 2], 0))


def digits(agi):
    SEEN.append(agi.wait_for_digit(1000))
    SEEN.append(agi.get_full_variable("${A} (b)"))
    SEEN.append(agi.channel_status())


def stuck(agi):
    """Does not look at the call for a long time."""
    SEEN.append("stuck")
    RELEASE.wait()
    try:
        agi.noop()
    except AGIHangup:
        SEEN.append("hung up")


def fails():
    AGI()
    raise ZeroDivisionError


def exits_with_1():
    sys.exit(1)


def exits_with_text():
    sys.exit("no good")


async def coroutine():
    pass


class Script:
    @staticmethod
    def run(agi):
        agi.noop()


NUMBER = 7
