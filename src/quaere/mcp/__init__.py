"""Answers language models about a library by the Model Context Protocol: calls of tools in, short replies out."""
