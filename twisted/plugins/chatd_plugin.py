"""`twistd chatd` and `twistd chatd-cluster`.

The rule: twistd reads this at every start, whatever it starts, so it imports nothing of ours.
"""

from twisted.application.service import ServiceMaker

chatd = ServiceMaker("chatd", "chatd.service", "A chat daemon for people who live in a terminal.", "chatd")
cluster = ServiceMaker(
    "chatd-cluster", "chatd.cluster", "Several chatd on one database behind HAProxy.", "chatd-cluster"
)
