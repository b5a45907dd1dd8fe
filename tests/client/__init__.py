"""Tests of `chat`: its pure parts, its parts against the whole server in memory, and the real program in a terminal."""
