"""How many inputs are tried: a few, always the same, with all tests; many, never the same, with `make fuzz`.

QUAERE_FUZZ is the number for each property. What fails is shown made small, with the line that repeats it.
"""

import os

from hypothesis import HealthCheck, settings

MANY = int(os.environ.get("QUAERE_FUZZ", "0"))

# The time that counts is the processor's, and is measured where something is read; a machine may be busy.
settings.register_profile(
    "few", max_examples=200, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.register_profile(
    "many",
    max_examples=MANY or 1,
    derandomize=False,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
PROFILE = settings.get_profile("many" if MANY else "few")
