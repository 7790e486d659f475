"""Who invites whom, from chat, from a phone and from the dialplan; `reception` is the whole."""
