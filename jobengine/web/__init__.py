"""The HTTP side: routes, limits, errors, metrics."""
