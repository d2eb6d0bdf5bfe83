"""The server process: settings, secret, log, start and stop."""
