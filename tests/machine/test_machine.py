"""The engine against a plain model, through every verb, with restarts and steps of the clock; and so over HTTP."""

from hypothesis import settings

from tests.machine.http_driver import HttpDriver
from tests.machine.local_driver import LocalDriver
from tests.machine.machine import EngineMachine


class LocalMachine(EngineMachine):
    driver_kind = LocalDriver


TestEngineAgainstAPlainModel = LocalMachine.TestCase
TestEngineAgainstAPlainModel.settings = settings(
    deadline=None, max_examples=80, stateful_step_count=40, report_multiple_bugs=False
)


class HttpMachine(EngineMachine):
    driver_kind = HttpDriver


TestApiAgainstAPlainModel = HttpMachine.TestCase
TestApiAgainstAPlainModel.settings = settings(
    deadline=None, max_examples=25, stateful_step_count=30, report_multiple_bugs=False
)
