"""The command `jobengine`: what a person types. It works over HTTP, through the client, but for `jobengine serve`."""
