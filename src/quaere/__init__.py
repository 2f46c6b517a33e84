"""Paper cards, answers that run, and the site that shows them.

Data flow through five packages (see docs/architecture.md): `content` reads an author's files into one `Library`,
`running` executes its code, `pages` renders pages from both, `site` builds a site from them, and `authoring` will edit
files.
"""
