"""Changes an author's files. Nothing does so yet."""
