"""
JSON on the wire, both ways: what clients send becomes commands, what the engine answers becomes JSON.

All validation of what a client can send is here. The shapes are those of api_schema.yml.
"""
