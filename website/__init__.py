"""The documentation as a site: what mkdocs adds to the pages of docs/. `make docs` builds it."""
