"""Phones in chat: screen pop, click to dial, who is on the phone (docs/phone.md).

`phones` ties the parts together. Pure are `people`, `numbers` and `events`. What people can ask for is in `actions`,
`command_set` and `commands`; what they are told in `telling`, `notes` and `watches`. `availability` tells Asterisk who
is away, `book` knows names, and `check` is for the administrator.
"""
