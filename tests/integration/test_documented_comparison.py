"""docs/compare.md: a statement about another system has a source, and one about JobEngine is true."""

import re

from jobengine.daemon.settings import SETTINGS

from .daemons import ROOT

TEXT = (ROOT / "docs" / "compare.md").read_text()
#: Systems that must have a section on the page.
SYSTEMS = (
    *("Celery", "Dramatiq", "Huey", "RQ", "Sidekiq", "Faktory", "BullMQ"),
    *("River", "pg-boss", "Temporal", "SQS", "RabbitMQ", "beanstalkd"),
)


def _sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)\n", TEXT, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_each_compared_system_has_a_section_with_sources_and_advice_when_to_choose_it() -> None:
    sections = _sections()
    first = next(iter(sections))
    assert first == "When not to take JobEngine"
    for name in SYSTEMS:
        assert any(name in heading or f"[{name}](https://" in text for heading, text in sections.items())
    for heading, text in list(sections.items())[2:]:
        assert "](https://" in text, heading
        assert "**Take JobEngine**" in text, heading
        assert re.search(r"^- \*\*Take (?!JobEngine)", text, re.MULTILINE), heading


def test_the_comparison_page_states_the_default_size_limit_of_a_request() -> None:
    (most,) = (setting.default for setting in SETTINGS if setting.variable == "MAX_BODY_BYTES")
    assert int(str(most)) == 1 << 20
    assert "a request has at most 1 MiB" in TEXT
