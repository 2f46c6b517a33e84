"""A bibliography comes in (`bibtex.Bibliography`), references go out, also in other programs' formats (`export`)."""
