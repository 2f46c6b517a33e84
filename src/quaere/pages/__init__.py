"""A library and its verdicts come in, pages go out; no disk is touched.

Others call `render.view`, and with it `render.pages`, `render.module`, `render.part` and `render.drawings`.
"""
