"""Logs, metrics and traces, without private data.

Logs are JSON lines on standard output. Metrics are read at `/metrics`: requests are counted here,
the rest is OpenTelemetry's. Traces are exported when OTEL_EXPORTER_OTLP_ENDPOINT (or
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) is set.
"""

import contextlib
import functools
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Sequence

import stamina
import structlog
from opentelemetry import metrics, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from prometheus_client import Gauge, Histogram
from pydantic import BaseModel
from structlog.typing import EventDict, Processor, WrappedLogger
from typing_extensions import override

_PRIVATE_FIELDS = re.compile(
    r"transcript|access_token|api_key|authorization|password|secret|signature|recording", re.I
)
_PRIVATE_TEXT = re.compile(
    r"(?:\+|%2[Bb])[1-9](?:[\s().-]{0,2}\d){6,14}"  # a phone number in E.164, spaces allowed
    r"|\(\d{3}\) ?\d{3}-\d{4}"  # a phone number in American notation
    r"|\bkey_\w{6,}"  # a Retell key
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]+"  # a JSON web token, such as a web call's access token
    r"|(?<=[Bb]earer )\s*\S+"
    r"|(?<=input_value=).*?(?=, input_type=)"  # the value quoted in an error of pydantic
)
_HINTS = ("+", "%2", "(", "key_", "eyJ", "earer ", "input_value=")
"""Every private text contains one of these, and searching for them is faster."""
REDACTED = "[redacted]"

# A client can send any method, and each would be a time series of its own for ever.
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY"})
# With OpenTelemetry's names and buckets (semantic conventions 1.44).
_requests_active = Gauge(
    "http_server_active_requests", "Number of active HTTP server requests.", ["http_request_method"]
)
_request_seconds = Histogram(
    "http_server_request_duration_seconds",
    "Duration of HTTP server requests.",
    ["http_request_method", "http_route", "http_response_status_code"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)


def redact(value: object) -> object:
    """Return `value` without phone numbers, tokens, keys and fields with private names.

    Models, mappings and sequences are redacted recursively, other objects by their text. It does
    not detect a phone number without a plus sign, or a transcript that is logged as plain text.
    """
    if isinstance(value, str):
        return _redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, BaseModel):
        return redact(value.model_dump())
    if isinstance(value, dict):
        return {
            redact(str(key)): REDACTED if _is_private(str(key)) else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, bytes | bytearray):
        return redact(repr(value))
    if isinstance(value, Sequence):
        return [redact(item) for item in value]
    return redact(repr(value))


def _redact_text(text: str) -> str:
    for hint in _HINTS:
        if hint in text:
            return _PRIVATE_TEXT.sub(REDACTED, text)
    return text


@functools.lru_cache(maxsize=1024)
def _is_private(name: str) -> bool:
    return _PRIVATE_FIELDS.search(name) is not None


def _redact_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {key: REDACTED if _is_private(key) else redact(item) for key, item in event.items()}


def _add_trace_id(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
    return event


class _StandardOutput:
    """The present `sys.stdout`: a test replaces and closes it while older threads still log."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        """Write a line and flush it, without lines of other threads in between."""
        with self._lock:
            output = sys.stdout
            output.write(text)
            output.flush()

    def flush(self) -> None:
        """Do nothing: `write` has flushed."""


class _Logger:
    """A logger for the app's own events, which renders and writes each as one line.

    It takes a third of the time of a `logging.Logger`, with its records and formatters. As there,
    an error in logging is printed to standard error and does not reach the caller.
    """

    def __init__(self, name: str, output: _StandardOutput, render: Processor) -> None:
        self.name = name
        self._output = output
        self._render = render

    def write(self, **event: object) -> None:
        """Write one event, redacted."""
        try:
            self._output.write(f"{self._render(self, '', _redact_event(self, '', event))}\n")
        except Exception:
            with contextlib.suppress(Exception):
                sys.stderr.write(f"--- Logging error ---\n{redact(traceback.format_exc())}")

    debug = info = warning = error = critical = write


def configure_logging(level: str, format_: str) -> None:
    """Write all logs to standard output: the app's directly, the libraries' through `logging`.

    Both have the same fields and the same redaction. A handler that you add to `logging` gets the
    libraries' logs only; to process the app's own logs too, add a structlog processor here.

    Args:
        level: debug, info, warning or error.
        format_: `json`, or `console` for people.
    """
    shared: Sequence[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace_id,
        structlog.processors.format_exc_info,
    ]
    render: Processor = (
        structlog.processors.JSONRenderer()
        if format_ == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    )
    output = _StandardOutput()
    structlog.configure(
        processors=[*shared],  # a list of its own, which structlog.testing.capture_logs empties
        logger_factory=lambda name="app": _Logger(name, output, render),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _redact_event,
                render,
            ],
        )
    )
    # The client logs its retries itself, with the request.
    stamina.instrumentation.set_on_retry_hooks([])
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # The app logs each request itself; the SDK's transport would log addresses and headers.
    for name in ("uvicorn.access", "httpx", "httpcore", "retell"):
        logging.getLogger(name).setLevel(logging.WARNING)


def request_started(method: str) -> None:
    """Count an active request."""
    _requests_active.labels(method if method in _METHODS else "_OTHER").inc()


def request_finished(method: str, route: str, status: int | None, seconds: float) -> None:
    """Count a finished request.

    Args:
        method: the method, as the caller wrote it.
        route: the template of its path, such as `/api/calls/{call_id}`; empty without a route.
        status: the status of the answer; None without one.
        seconds: its duration.
    """
    method = method if method in _METHODS else "_OTHER"
    _requests_active.labels(method).dec()
    _request_seconds.labels(method, route, status or "").observe(seconds)


@functools.cache
def meter_provider() -> MeterProvider:
    """Return the process's meter provider; prometheus_client's default registry exports it."""
    provider = MeterProvider(metric_readers=[PrometheusMetricReader()], resource=_resource())
    metrics.set_meter_provider(provider)
    return provider


@functools.cache
def tracer_provider() -> TracerProvider | None:
    """Return the process's tracer provider; None if no endpoint for traces is set."""
    if not (
        os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    ):
        return None
    # Imported here, because the import takes time and most processes export no traces.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=_resource())
    provider.add_span_processor(_RedactAddresses())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


def flush() -> None:
    """Export the pending spans. Call it at shutdown: uvicorn ends the process by re-raising the
    signal that stopped it, which skips Python's exit handlers.
    """
    if (provider := tracer_provider()) is not None:
        provider.force_flush()


class _RedactAddresses(SpanProcessor):
    """Redaction of URLs in spans: filters such as `?to_number=` contain phone numbers."""

    @override
    def on_start(self, span: Span, parent_context: object = None) -> None:
        for name in ("url.path", "url.query"):
            value = (span.attributes or {}).get(name)
            if isinstance(value, str):
                span.set_attribute(name, str(redact(value)))


def _resource() -> Resource:
    found = Resource.create()
    if str(found.attributes.get("service.name", "")).startswith("unknown_service"):
        return found.merge(Resource({"service.name": "app"}))
    return found
