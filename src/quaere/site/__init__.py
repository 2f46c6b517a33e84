"""Pages come in, a site goes out. MkDocs finds `plugin.QuaerePlugin` by its entry point."""
