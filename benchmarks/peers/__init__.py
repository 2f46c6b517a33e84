"""Peers that no package has: written out, for comparison alone."""
