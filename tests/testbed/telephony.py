"""A telephone exchange: an Asterisk with people, their telephones, and all that an office does with calls.

| number | what is there |
|---|---|
| 101 … 105 | Alice, Bob, Carol, Dave, Eve: the phone ``PJSIP/101`` … ``PJSIP/105`` |
| 201 … 205 | the second phone of each; it shows the first one's number when it calls |
| 600, 601 | Bob through a Local channel that stays (``/n``), and through one that is optimised away |
| 610, 611 | ring groups: Bob and Carol; both phones of Alice |
| 620 | the queue ``sales``: all phones of Bob and Carol ring |
| 630, 635 | a menu that waits for a digit; an announcement of four seconds |
| 640, 650 | the conference ``staff``; echo |
| 661, 662, 663 | Bob; after a second without answer, and if he is busy, Carol; after a second his voicemail |
| 670, 671, 672 | busy; congestion; ringing for ever |
| 680, 681 | Bob, called by +49301234567 "Müller, Jörg & Söhne"; by a number that is withheld |
| 700, 701 … 720 | park a call here; fetch it there |
| \\*8, \\*\\*102 | take a call that rings at anybody's phone, at Bob's |

While they talk, both sides can press ``##`` (transfer), ``*2`` (transfer after talking) and ``*72`` (park).
"""

from __future__ import annotations

import secrets

from tests.testbed.asterisk import Asterisk
from tests.testbed.handsets import Handsets
from tests.testbed.phone import Phone
from tests.testbed.rootfs import Rootfs

#: Who has which phones; the first one's name is their number.
PEOPLE = {
    "alice": ("101", "201"),
    "bob": ("102", "202"),
    "carol": ("103", "203"),
    "dave": ("104", "204"),
    "eve": ("105", "205"),
}
#: The context of all phones.
CONTEXT = "internal"

_MODULES = (
    *("app_queue", "app_directed_pickup", "res_parking", "res_pjsip_refer", "bridge_native_rtp"),
    *("res_manager_devicestate", "res_manager_presencestate"),
)
_TRANSPORT = """
[udp]
type = transport
protocol = udp
bind = 127.0.0.1:{sip_port}
"""
_ENDPOINT = """
[{device}]
type = endpoint
context = internal
disallow = all
allow = ulaw
aors = {device}
direct_media = no
media_address = 127.0.0.1
bind_rtp_to_media_address = yes
callerid = "{name}" <{number}>
call_group = 1
pickup_group = 1
device_state_busy_at = 2
[{device}]
type = aor
max_contacts = 1
remove_existing = yes
"""
_DIALPLAN = """
[internal]
exten => _10[1-5],1,Dial(PJSIP/${EXTEN},60,tTkK)
exten => _20[1-5],1,Dial(PJSIP/${EXTEN},60,tTkK)
exten => 600,1,Dial(Local/102@internal/n,60)
exten => 601,1,Dial(Local/102@internal,60)
exten => 610,1,Dial(PJSIP/102&PJSIP/103,60,tTkK)
exten => 611,1,Dial(PJSIP/101&PJSIP/201,60,tTkK)
exten => 620,1,Queue(sales,tTkK,,,60)
exten => 630,1,Answer()
 same => n,Read(DIGIT,basic-pbx-ivr-main,1,,1,60)
 same => n,Goto(10${DIGIT},1)
exten => 635,1,Answer()
 same => n,Playback(invalid)
exten => 640,1,ConfBridge(staff)
exten => 650,1,Answer()
 same => n,Echo()
exten => 661,1,Dial(PJSIP/102,1,tTkK)
 same => n,Dial(PJSIP/103,60,tTkK)
exten => 662,1,Dial(PJSIP/102,60,tTkK)
 same => n,GotoIf($["${DIALSTATUS}" = "BUSY"]?:no)
 same => n,Dial(PJSIP/103,60,tTkK)
 same => n(no),Hangup()
exten => 663,1,Dial(PJSIP/102,1,tTkK)
 same => n,VoiceMail(102@default,u)
exten => 670,1,Busy()
exten => 671,1,Congestion()
exten => 672,1,Ringing()
 same => n,Wait(3600)
exten => 680,1,Set(CALLERID(num)=+49301234567)
 same => n,Set(CALLERID(name)=Müller, Jörg & Söhne)
 same => n,Dial(PJSIP/102,60,tTkK)
exten => 681,1,Set(CALLERID(pres)=prohib)
 same => n,Dial(PJSIP/102,60,tTkK)
exten => _**10X,1,Pickup(${EXTEN:2}@internal)
include => parkedcalls
"""
_FILES = {
    "features.conf": """
[general]
pickupexten = *8
transferdigittimeout = 3
atxfernoanswertimeout = 30
[featuremap]
blindxfer = ##
atxfer = *2
parkcall = *72
""",
    "res_parking.conf": """
[general]
[default]
parkext = 700
parkpos = 701-720
context = parkedcalls
parkingtime = 600
parkedcalltransfers = both
comebacktoorigin = yes
""",
    "queues.conf": """
[general]
[sales]
strategy = ringall
timeout = 60
retry = 1
member => PJSIP/102,0,Bob,PJSIP/102
member => PJSIP/103,0,Carol,PJSIP/103
""",
    "voicemail.conf": "[general]\nformat = wav\n[default]\n"
    + "".join(f"{devices[0]} => 4242,{person.title()}\n" for person, devices in PEOPLE.items()),
    "pjproject.conf": "",
}


class Exchange(Asterisk):
    """The exchange.

    Attributes:
        phone_user, phone_secret: of a manager user with the rights that agi-xmpp needs, and no others.
        lesser_user: with the same secret, and without the right to see and to forward calls.
    """

    def __init__(self, rootfs: Rootfs) -> None:
        endpoints = (
            _ENDPOINT.format(device=device, name=person.title(), number=devices[0])
            for person, devices in PEOPLE.items()
            for device in devices
        )
        super().__init__(rootfs, modules=_MODULES, pjsip=_TRANSPORT + "".join(endpoints), files=_FILES)
        self.phone_user = "xmppphone"
        self.lesser_user = "xmpplesser"
        self.phone_secret = secrets.token_hex(16)

    def phone(self, number: str) -> Phone:
        """Return a phone of these people, by the name of its device; use it by ``async with``."""
        return Phone(self, number)

    def _configuration(self) -> dict[str, str]:
        files = super()._configuration()
        files["extensions.conf"] += _DIALPLAN + "".join(
            f"exten => {devices[0]},hint,{'&'.join(f'PJSIP/{device}' for device in devices)},CustomPresence:{person}\n"
            for person, devices in PEOPLE.items()
        )
        rights = {self.phone_user: "call,originate,agent,reporting", self.lesser_user: "originate,agent,reporting"}
        for user, write in rights.items():
            files["manager.conf"] += f"""
[{user}]
secret = {self.phone_secret}
deny = 0.0.0.0/0.0.0.0
permit = 127.0.0.1/255.255.255.255
read = call,agent,user
write = {write}
"""
        return files


#: The phones of a test: ``alice, bob = await phones("101", "102")``.
Phones = Handsets[Phone]
