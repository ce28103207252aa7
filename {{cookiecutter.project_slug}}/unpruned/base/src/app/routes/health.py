"""What operators and their tools ask."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.routes.dependencies import RunningEngine

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """Whether the process answers. Asks nobody else, least of all Retell."""
    return {"status": "ok"}


@router.get("/readyz")
async def ready(engine: RunningEngine) -> dict[str, str]:
    """Whether requests are welcome, and the state of what this app leans on.

    Trouble at Retell does not make this app unready: webhooks must still be taken.
    """
    return {"status": "ok"} | await engine.readiness()


@router.get("/metrics", response_class=Response)
async def metrics() -> Response:
    """Metrics in the text format of Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
