"""Reading notes in Markdown → cards and entries of the bibliography, with an account of every line."""
