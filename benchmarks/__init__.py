"""This project and its peers side by side, in one process: `python -m benchmarks`.

A row is a function below `rows` that returns two pieces of work, ours and a peer's, with the same weights and inputs.
"""
