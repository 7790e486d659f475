"""Conferences of Asterisk (ConfBridge) as rooms in chat (XEP-0045): docs/conference.md."""
