"""Settings that must stand before any test imports torch or `reference_impl`."""

import os

os.environ["REFERENCE_IMPL_CHECK_SHAPES"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
