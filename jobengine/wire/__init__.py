"""
JSON on the wire: request bodies become commands, and the engine's answers become JSON.

Everything that a client sends is validated here. api_schema.yml describes the shapes.
"""
