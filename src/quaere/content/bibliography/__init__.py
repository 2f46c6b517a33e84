"""Read a bibliography (`bibtex.Bibliography`) into references, and export them in other formats (`export`)."""
