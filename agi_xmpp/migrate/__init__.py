"""Rewrites a dialplan that uses Asterisk's own XMPP module so that it uses agi-xmpp.

Text in, text out: nothing here reads or writes files but `agi_xmpp.migrate.files`. What is not understood is left as
it stands, byte for byte, and listed for a human.

| module | holds |
|---|---|
| ``model`` | the plain data that the others hand on |
| ``calls`` | Asterisk's rules for arguments, variables and expressions |
| ``rewrite`` | what becomes of one call or one text |
| ``jumps`` | which priorities are named by number |
| ``remarks`` | what depends on the XMPP module and is no call of it |
| ``config_text`` | lines and comments of configuration files |
| ``extensions`` | extensions.conf: where the new lines go |
| ``ael_reader``, ``ael`` | the same for AEL |
| ``files`` | included files, the difference, writing |
"""
