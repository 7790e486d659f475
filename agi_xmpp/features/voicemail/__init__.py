"""Recordings of Asterisk's voicemail into chat: the verb `jabber_voicemail`, and the mailcmd of app_voicemail.

`recording` opens what lies in the spool, `mail` reads what app_voicemail would send by mail, `delivery` converts,
transcribes, uploads and tells; `verb` and `mailcmd` are the two ways in.
"""
