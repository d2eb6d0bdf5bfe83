"""The installation of JobEngine; settings of the tools are in pyproject.toml."""

import json
import re
from pathlib import Path

import yaml
from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class BuildWithSchema(build_py):
    """Builds the package with its schema as JSON, so that the server needs no reader of YAML."""

    def run(self) -> None:
        """Make openapi.json from api_schema.yml in the source tree, where the package and the tests find it."""
        schema = yaml.safe_load(Path("api_schema.yml").read_text(encoding="utf-8"))
        made = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
        Path("jobengine/web/openapi.json").write_text(made, encoding="utf-8")
        super().run()


#: Finds the version in its only place, as text: the package can't be imported before its requirements are installed.
VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)

#: The driver of the second engine.
POSTGRES = "psycopg[binary]>=3.2,<4"

#: What builds the documentation's site; tests look at it, too.
DOCS = [
    "griffe-sphinx>=0.3,<1",
    "mkdocs>=1.6,<2",
    "mkdocs-material>=9.7,<10",
    "mkdocstrings[python]>=1,<2",
    "pyyaml>=6",
]

(version,) = VERSION.findall(Path("jobengine/__init__.py").read_text(encoding="utf-8"))

setup(
    name="jobengine",
    version=version,
    description="A durable queue of jobs over HTTP, kept in one encrypted file",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=[*find_packages(include=["jobengine", "jobengine.*"]), "twisted.plugins"],
    package_data={
        "jobengine": ["py.typed"],
        "jobengine.engine.postgres.sql": ["*.sql"],
        "jobengine.web": ["openapi.json", "dashboard/*"],
    },
    cmdclass={"build_py": BuildWithSchema},
    python_requires=">=3.11",
    install_requires=[
        "twisted[tls]>=25.5,<27",
        "klein>=24.8,<26",
        "pynacl>=1.5,<2",
        "attrs>=23.2",
        "click>=8.1,<9",
        "cronsim>=2.8,<3",
        "cryptography>=43",
        "msgspec>=0.22,<1",
        "httptools>=0.7,<1",
        "platformdirs>=4,<5",
        "prometheus-client>=0.20,<1",
        "rich>=13,<16",
        "tzdata>=2025.2",
        "werkzeug>=3,<4",
    ],
    entry_points={
        "console_scripts": ["jobengine = jobengine.cli.start:main"],
        "pytest11": ["jobengine = jobengine.testing"],
    },
    extras_require={
        "postgres": [POSTGRES],
        "docs": DOCS,
        "test": [
            *DOCS,
            "build>=1.2",
            "cloudcoil-models-keda>=2.16",
            "django>=5.2,<7",
            "fastapi>=0.115,<1",
            # The plugin for pytest that comes with cloudcoil imports it, and does not require it.
            "filelock>=3",
            "flask>=3,<4",
            "hypothesis>=6.100",
            "jsonschema-rs>=0.60,<1",
            "kubernetes-validate>=1.30",
            "openapi-python-client>=0.26,<1",
            "openapi-spec-validator>=0.7",
            "playwright>=1.50,<2",
            POSTGRES,
            "pycryptodome>=3.20,<5",
            "pytest>=8.4",
            "pytest-twisted>=1.14",
            "pytest-xdist>=3.6",
            "schemathesis>=4,<5",
            "setuptools>=77",
            "towncrier>=24",
            "treq>=24",
            "twine>=6",
            "wheel>=0.45",
            "uvicorn>=0.30,<1",
        ],
        "bench": [
            "celery[redis]>=5.4,<6",
            "huey>=2.5,<4",
            "matplotlib>=3.8,<4",
            "pika>=1.3,<2",
            "procrastinate>=3,<4",
            "psycopg[binary,pool]>=3.2,<4",
            "redis>=5",
            "rq>=2,<4",
        ],
        "fuzz": ["atheris>=3,<4"],
        "lint": [
            "mypy>=1.13",
            "mypy-zope>=1.0",
            "pip-audit>=2.7",
            "ruff>=0.6",
            "types-PyYAML",
            "types-setuptools",
        ],
    },
    classifiers=[
        "Framework :: Twisted",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
    ],
)
