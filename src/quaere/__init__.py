"""Paper cards, answers that run, and the site that shows what holds.

Data take one road through five rooms (see docs/architecture.md): `content` reads what people wrote into one `Library`,
`running` executes its code, `pages` makes pages of both, `site` puts them into a site, `authoring` changes files.
"""
