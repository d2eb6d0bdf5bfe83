"""The HTTP side of the API: routes, errors, metrics, the dashboard's files."""
