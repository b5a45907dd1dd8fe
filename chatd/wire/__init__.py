"""The dialects: bytes to lines to calls, events to bytes. Sans-IO: nothing here knows a socket or Twisted."""
