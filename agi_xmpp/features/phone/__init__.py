"""Phones in chat: screen pop, click to dial, who is on the phone (docs/phone.md).

`phones` ties the parts together. Pure: `people`, `numbers`, `events`. What people can ask for: `actions`, `command_set`,
`commands`. What they are told: `telling`, `notes`, `watches`. `availability` tells Asterisk who is away; `book` knows names.
"""
