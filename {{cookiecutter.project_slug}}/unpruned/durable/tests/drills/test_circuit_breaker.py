"""The circuit breaker in any order of events: a long search."""

from hypothesis import settings

from tests.support.circuit_breaker import CallsInAnyOrder

TestCallsInAnyOrder = CallsInAnyOrder.TestCase
TestCallsInAnyOrder.settings = settings(max_examples=500, stateful_step_count=60)
