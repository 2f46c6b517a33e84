"""Plugins of other distributions, by entry points: `quaere.checks`, `quaere.exports` and `quaere.importers`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from quaere.errors import Place, PluginError


def names(group: str) -> list[str]:
    """Return the names of the entry points of a group."""
    return [point.name for point in entry_points(group=group)]


def loaded(group: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the name of each entry point of a group, and the function that it names.

    What goes wrong in the function is told as the plugin's fault.

    Raises:
        PluginError: The function can't be imported, or is none.
    """
    for point in entry_points(group=group):
        try:
            function = point.load()
        except Exception as error:
            raise _error(point, "can't be loaded", error) from error
        if not callable(function):
            raise PluginError(_place(point), f"{point.name} of `{group}` is no function: {point.value}")
        yield point.name, _guarded(point, function)


def _guarded(point: EntryPoint, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            found = function(*arguments)
            return list(found) if isinstance(found, Iterator) else found
        except Exception as error:
            raise _error(point, "failed", error) from error

    return call


def _error(point: EntryPoint, what: str, error: Exception) -> PluginError:
    problem = f"{point.name} of `{point.group}` {what}: {type(error).__name__}: {error}"
    return PluginError(_place(point), problem, "ask its authors, or uninstall it")


def _place(point: EntryPoint) -> Place:
    return Place(f"plugin {point.dist.name} {point.dist.version}" if point.dist else f"plugin {point.value}", 0)
