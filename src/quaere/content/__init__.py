"""An author's files come in, one `Library` goes out, with all that is wrong in and between them.

Others call `load.load` and `check.check`; `model` holds what they return.
"""
