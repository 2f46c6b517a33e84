"""Pages come in, a site goes out.

Others call `build.build` and `serve.serve`; MkDocs finds `plugin.QuaerePlugin` by its entry point.
"""
