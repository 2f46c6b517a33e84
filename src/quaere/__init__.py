"""Paper cards, answers that run, and the site that shows what holds.

Data take one road (see docs/architecture.md): `marked` and `bibliography` read what people wrote, `answers` reads the
implementation, `load` joins them into one `Library`, `check` and `verify` judge it, `render` turns it into pages.
"""
