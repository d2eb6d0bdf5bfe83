"""The schema of the API as JSON: api_schema.yml, which setup.py turns into openapi.json beside this module."""

from importlib.resources import files
from typing import Final

__all__ = ["SCHEMA"]


def _read() -> bytes:
    try:
        return files(__package__).joinpath("openapi.json").read_bytes()
    except FileNotFoundError:
        raise RuntimeError("openapi.json is missing; it is made when JobEngine is installed, as by `make`.") from None


#: An OpenAPI document that is whole in itself.
SCHEMA: Final = _read()
