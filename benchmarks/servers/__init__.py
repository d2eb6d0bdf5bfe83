"""The measured servers, one module each, all with the same interface: start, do the work, stop."""

from .beanstalkd import Beanstalkd
from .jobengine import JobEngine
from .noop import Noop
from .postgresql import PostgreSQL
from .rabbitmq import RabbitMQ
from .redis import Redis
from .server import Failed, Run, Server

__all__ = ["Beanstalkd", "Failed", "JobEngine", "Noop", "PostgreSQL", "RabbitMQ", "Redis", "Run", "Server"]
