"""The API's schema as JSON: setup.py makes openapi.json beside this module from api_schema.yml."""

from importlib.resources import files
from typing import Final


def _read() -> bytes:
    try:
        return files(__package__).joinpath("openapi.json").read_bytes()
    except FileNotFoundError:
        raise RuntimeError("openapi.json is missing; it is made when JobEngine is installed, as by `make`.") from None


#: A complete OpenAPI document.
SCHEMA: Final = _read()
