"""The server as a process: settings, secret, log, start and end."""
