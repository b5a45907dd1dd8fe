"""`chatctl`, the operator's tool, and the daemon's ear for it.

The rule: an administrative act is one function of a transaction (acts.py). A running daemon performs it for chatctl
over a Unix socket whose file permissions are its lock; where none runs chatctl performs the same function on the file.
"""
