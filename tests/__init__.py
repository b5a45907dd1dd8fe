"""Run with `make test`; each test's docstring says what holds.

The rule: no test fails because the machine was slow, so Hypothesis has no deadline here.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("chatd", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("chatd")
