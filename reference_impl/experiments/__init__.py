"""Experiments: one a paper, each puts the paper's claims to the test at a size that this machine can carry."""
