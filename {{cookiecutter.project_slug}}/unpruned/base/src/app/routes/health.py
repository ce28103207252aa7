"""Health checks and metrics, for operators and their tools."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.routes.dependencies import RunningEngine

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """Report that the process is alive. Depends on no other service."""
    return {"status": "ok"}


@router.get("/readyz")
async def ready(engine: RunningEngine) -> dict[str, str]:
    """Report that the app can receive requests, and the state of its dependencies.

    The app stays ready while Retell's API is unavailable, as it must still receive webhooks.
    """
    return {"status": "ok"} | await engine.readiness()


@router.get("/metrics", response_class=Response)
async def metrics() -> Response:
    """Return the metrics in the Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
