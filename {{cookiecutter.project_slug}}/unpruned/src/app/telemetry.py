"""Logs, metrics and traces, with nothing in them that a log must not hold.

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
    r"(?:\+|%2[Bb])[1-9](?:[\s().-]{0,2}\d){6,14}"  # a phone number in E.164, however spaced
    r"|\(\d{3}\) ?\d{3}-\d{4}"  # and as it is written in America
    r"|\bkey_\w{6,}"  # a Retell key
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]+"  # a JSON web token, such as a web call's access token
    r"|(?<=[Bb]earer )\s*\S+"
    r"|(?<=input_value=).*?(?=, input_type=)"  # what pydantic quotes when it refuses a value
)
_HINTS = ("+", "%2", "(", "key_", "eyJ", "earer ", "input_value=")
"""Private text holds one of these: looked for first, as the whole expression takes longer."""
REDACTED = "[redacted]"

# Whoever asks can make up methods, and each would be a series of its own for ever.
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY"})
# By the names that OpenTelemetry has for them, with its buckets (semantic conventions 1.44).
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
    """`value` without phone numbers, tokens, keys, and fields that are private by their name.

    It looks into models, mappings and sequences, and at the text of everything else. A phone number
    without a plus sign, or a transcript that is logged as plain text, it cannot know.
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
    """Standard output as it is at the time of writing: a test, for one, puts its own in its place
    and closes it, while a thread of before still logs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        """Write a line and send it off, before another thread writes its own."""
        with self._lock:
            output = sys.stdout
            output.write(text)
            output.flush()

    def flush(self) -> None:
        """Do nothing: what was written is out."""


class _Logger:
    """A logger of the app's own, which makes each event a line and writes it.

    A `logging.Logger`, with its records and formatters, takes three times as long. As there, a line
    that cannot be made or written is told on standard error: it must not end what it tells of.
    """

    def __init__(self, name: str, output: _StandardOutput, render: Processor) -> None:
        self.name = name
        self._output = output
        self._render = render

    def write(self, **event: object) -> None:
        """Write one event, without what is private."""
        try:
            self._output.write(f"{self._render(self, '', _redact_event(self, '', event))}\n")
        except Exception:
            with contextlib.suppress(Exception):
                sys.stderr.write(f"--- Logging error ---\n{redact(traceback.format_exc())}")

    debug = info = warning = error = critical = write


def configure_logging(level: str, format_: str) -> None:
    """Send all logs to standard output: the app's own at once, the libraries' through `logging`.

    Both get the same fields and lose the same private text. What you attach to `logging` sees the
    libraries' logs; what is to see the app's own as well is a structlog processor, here.

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
        processors=shared,
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
    # The client tells of its retries itself, in terms of the request.
    stamina.instrumentation.set_on_retry_hooks([])
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # The app logs each request itself; the SDK's transport would log addresses and headers.
    for name in ("uvicorn.access", "httpx", "httpcore", "retell"):
        logging.getLogger(name).setLevel(logging.WARNING)


def request_began(method: str) -> None:
    """Count a request as under way."""
    _requests_active.labels(method if method in _METHODS else "_OTHER").inc()


def request_ended(method: str, route: str, status: int | None, seconds: float) -> None:
    """Count a request as done.

    Args:
        method: as the caller wrote it.
        route: the template of its path, such as `/api/calls/{call_id}`; empty: no such route.
        status: the status of the answer; None: there was none.
        seconds: how long it took.
    """
    method = method if method in _METHODS else "_OTHER"
    _requests_active.labels(method).dec()
    _request_seconds.labels(method, route, status or "").observe(seconds)


@functools.cache
def meter_provider() -> MeterProvider:
    """The process's metrics, readable through prometheus_client's default registry."""
    provider = MeterProvider(metric_readers=[PrometheusMetricReader()], resource=_resource())
    metrics.set_meter_provider(provider)
    return provider


@functools.cache
def tracer_provider() -> TracerProvider | None:
    """The process's traces; None when nobody collects them."""
    if not (
        os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    ):
        return None
    # Only who exports pays for importing the exporter.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=_resource())
    provider.add_span_processor(_RedactAddresses())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


def flush() -> None:
    """Send the spans that wait. uvicorn ends a process by the signal that stopped it, and then
    nothing that Python does at its exit is done any more.
    """
    if (provider := tracer_provider()) is not None:
        provider.force_flush()


class _RedactAddresses(SpanProcessor):
    """Filters such as `?to_number=` would put phone numbers into traces."""

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
