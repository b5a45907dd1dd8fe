"""Run with `make test`; each test's docstring says what holds.

The rule: no test fails because the machine was slow, so Hypothesis has no deadline here.
"""

import os

from hypothesis import HealthCheck, settings

# Warnings are errors in the tests (see the Makefile), not in the programs that they start.
os.environ.pop("PYTHONWARNINGS", None)

settings.register_profile("chatd", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("chatd")
