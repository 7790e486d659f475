"""What was said in rooms, to be read again (XEP-0313): `mam` asks, `archive` keeps, `messages` is the file."""
