"""The proof of delivery: clients that talk while servers die, and a checker that reads what came of it.

The rule: whether something was lost is decided by `checker` alone, from what the clients wrote down and what the
database holds; nothing here trusts the server's own word.
"""
