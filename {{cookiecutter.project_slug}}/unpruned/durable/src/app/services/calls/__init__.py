"""The decisions about calls, apart from all I/O: plain functions of plain values.

`intent`, `event` and `progress` each are the one home of a thing with states; `jobs` is the port to
the queue. They import the standard library and each other, so they are tested without a server.
"""
