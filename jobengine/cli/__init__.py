"""The command line `jobengine`. It works over HTTP, through the client, except `jobengine serve` and `jobengine db`."""
