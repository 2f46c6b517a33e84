"""Edits an author's files. Still empty."""
