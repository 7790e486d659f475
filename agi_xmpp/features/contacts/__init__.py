"""Who is behind a number or a mail address: for clients (docs/contacts.md), and for the verb `jabber_lookup`.

``finder`` ties it together and ``whois`` answers the dialplan; ``addresses`` and ``limits`` are pure.
"""
