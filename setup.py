"""How JobEngine is installed; settings of the tools are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="jobengine",
    version="1.0.0",
    description="A durable queue of jobs over HTTP, kept in one encrypted file",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=[*find_packages(include=["jobengine", "jobengine.*"]), "twisted.plugins"],
    package_data={"jobengine": ["py.typed"]},
    python_requires=">=3.11",
    install_requires=[
        "twisted[tls]>=25.5,<27",
        "klein>=24.8,<26",
        "pynacl>=1.5,<2",
        "attrs>=23.2",
        "msgspec>=0.22,<1",
        "httptools>=0.7,<1",
        "platformdirs>=4,<5",
        "prometheus-client>=0.20,<1",
        "werkzeug>=3,<4",
    ],
    extras_require={
        "test": [
            "hypothesis>=6.100",
            "jsonschema>=4.20",
            "openapi-spec-validator>=0.7",
            "pytest>=8",
            "pytest-twisted>=1.14",
            "pyyaml>=6",
            "schemathesis>=4,<5",
            "treq>=24",
        ],
        "bench": ["matplotlib>=3.8,<4"],
        "lint": ["mypy>=1.13", "mypy-zope>=1.0", "ruff>=0.6", "towncrier>=24", "types-PyYAML", "types-setuptools"],
    },
    classifiers=[
        "Framework :: Twisted",
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
    ],
)
