"""An author's files come in, one `Library` goes out, with all that is wrong in and between them.

Others call `load.load` and `check.check`, and read texts by `markdown`; `model` holds what they return.
"""
