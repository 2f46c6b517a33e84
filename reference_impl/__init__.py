"""Reference implementations: one module a paper, and `layers` for what two papers state with the same equation.

With `REFERENCE_IMPL_CHECK_SHAPES=1` in the environment, every call checks the shapes and dtypes in its annotations.
"""

import os

if os.environ.get("REFERENCE_IMPL_CHECK_SHAPES") == "1":
    from jaxtyping import install_import_hook

    # Modules imported from here on are checked, so this comes before any of them.
    install_import_hook(__name__, "beartype.beartype")
