"""The decisions about calls, apart from all I/O: plain functions of plain values.

`intent`, `event` and `progress` each are the one home of a thing with states. They import the
standard library and each other, so that they can be tested without a server.
"""
