"""The phone book: from a number to a name, by files, a command and a directory (`[phone.book]`).

`lookup.Book` asks the sources; `number` makes numbers comparable; `contacts` reads files that programs export; `files`,
`command` and `directory` are the sources.
"""
