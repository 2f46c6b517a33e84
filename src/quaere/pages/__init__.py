"""Render pages from a library and its verdicts, without reading or writing files.

Others call `render.view`, and with it `render.pages`, `render.module`, `render.part` and `render.files`.
"""
