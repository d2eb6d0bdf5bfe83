"""Teaches mkdocstrings the types of an answer's fields: `uid = Field[str]("uid")` is an attribute of type str."""

from typing import Any

from griffe import Attribute, ExprCall, ExprSubscript, Extension


class FieldTypes(Extension):
    """Gives each attribute that is made by a call of `Field[T]` the type T."""

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        made = attr.value
        function = made.function if isinstance(made, ExprCall) else None
        if attr.annotation is None and isinstance(function, ExprSubscript) and str(function.left) == "Field":
            attr.annotation = function.slice
