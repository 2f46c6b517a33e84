"""Run the code of a library, and return verdicts and results: the only package that executes it.

Others call `verify.run` for answers, `experiments.Run` for experiments, and `notebook.written` for a notebook.
"""
