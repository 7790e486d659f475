"""The SIP leg: a call of our own into a conference of Asterisk, by which texts come and go; it carries no voice.

`agent.SipAgent` is what the rest of the program uses. Below it nothing but `agent` and `transport` does I/O: `core`
takes datagrams and the time, and says what to send, when to be woken, and what happened.
"""
