"""A library's code comes in, what came of running it goes out: the only room that executes it.

Others call `verify.run` for answers, `experiments.Run` for experiments, and `notebook.written` for a notebook.
"""
