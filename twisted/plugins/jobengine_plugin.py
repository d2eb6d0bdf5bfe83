"""Registers `twistd jobengine`; see jobengine.tap."""

from twisted.application.service import ServiceMaker

jobengine = ServiceMaker("JobEngine", "jobengine.tap", "A durable queue of jobs over HTTP.", "jobengine")
