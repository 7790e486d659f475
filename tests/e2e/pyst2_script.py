"""A script as people wrote them for pyst2: nothing in it knows of agi-xmpp."""

from asterisk.agi import AGI


def main() -> None:
    agi = AGI()
    agi.verbose("hello from pyst2", 1)
    caller = agi.env["agi_callerid"]
    name = agi.get_variable("NAME")
    agi.set_variable("GREETING", f"hello {name} from {caller}")
    agi.database_put("pyst2", "last", name)
