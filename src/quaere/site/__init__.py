"""Build a site from pages.

Others call `build.build` and `serve.serve`; MkDocs finds `plugin.QuaerePlugin` by its entry point.
"""
