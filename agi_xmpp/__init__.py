"""XMPP for Asterisk's dialplan, from outside Asterisk."""

__version__ = "0.1.0"
