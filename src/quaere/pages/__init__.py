"""A library and its verdicts come in, pages go out; no disk is touched. Others call `render.render`."""
