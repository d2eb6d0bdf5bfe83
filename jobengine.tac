"""`twistd -y jobengine.tac`: the same server as `twistd jobengine`, configured by the environment alone."""

from twisted.application.service import Application

from jobengine.tap import Options, makeService

options = Options()
options.parseOptions([])

application = Application("jobengine")
makeService(options).setServiceParent(application)
