"""The ASGI application. `python -m app` serves it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app import telemetry
from app.bootstrap import run_engine
from app.routes import ROUTERS, engine, problems
from app.routes.requests import BodyLimitMiddleware, RequestContextMiddleware
from app.routes.security import Guard
from app.settings import Settings, load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the app. Without `settings`, reads them from the environment and `.env`.

    Raises `SettingsError`, which ends the process with one line for each missing or wrong setting.
    """
    settings = settings or load_settings()
    telemetry.configure_logging(settings.log_level, settings.log_format)
    telemetry.meter_provider()
    # Created here and not in the lifespan, so that a wrong setting fails before anything starts.
    engine_running = run_engine(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with engine_running as running:
            app.state.engine = running
            yield
        await asyncio.to_thread(telemetry.flush)

    app = FastAPI(
        title="Voice calls",
        lifespan=lifespan,
        telemetry={
            "metrics": False,  # 40 us a request; `RequestContextMiddleware` takes 5
            "tracer_provider": telemetry.tracer_provider(),
            "tracing": telemetry.tracer_provider() is not None,
            "logs": False,
        },
    )
    app.state.guard = Guard(
        [key.get_secret_value() for key in settings.api_keys], settings.rate_limit
    )
    app.state.webhook_keys = [key.get_secret_value() for key in settings.retell_webhook_keys]
    app.add_middleware(BodyLimitMiddleware, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(RequestContextMiddleware)  # outermost: it logs every answer
    problems.install(app, problems.PROBLEMS | engine.PROBLEMS)
    for router in [*ROUTERS, *engine.ROUTERS]:
        app.include_router(router)
    return app
