"""chatd: a chat daemon for people who live in a terminal.

Start with docs/architecture.md; the one path every byte takes is

    bytes -> lines -> Call -> operation in a transaction -> events -> COMMIT -> log tailed -> rendered -> bytes
"""

__version__ = "0.1.0"
