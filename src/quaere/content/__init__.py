"""Read an author's files into one `Library`, together with all errors in and between them.

Others call `load.load` and `check.check`, and read texts by `markdown`; `model` holds what they return.
"""
