"""Conferences of Asterisk (ConfBridge) as rooms in chat (XEP-0045): docs/conference.md.

`gateway` joins the parts, `model` has what they share. One room is in `room`, all of them and what is asked of them in
`rooms`, what was said in `archive`, who invites whom in `invitations`; the phones' side is `phones`, and `elsewhere`
has phones in rooms of other MUC services. `stanzas` builds what is sent, `stream` keeps it while the server is away.
"""
