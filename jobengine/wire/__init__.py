"""
JSON on the wire: request bodies become commands, and the engine's answers become JSON.

All input from clients is validated here. api_schema.yml describes the shapes.
"""
