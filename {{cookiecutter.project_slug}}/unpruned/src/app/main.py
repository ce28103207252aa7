"""The ASGI application. `python -m app` serves it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app import errors, telemetry
from app.bootstrap import ENGINE_ROUTERS, run_engine
from app.retellai.middleware import BodyLimitMiddleware, RequestContextMiddleware
from app.routes import ROUTERS
from app.security import Guard
from app.settings import Settings, load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the app. Without `settings`, they are read from the environment and `.env`.

    Raises `SettingsError`, which ends the process with a line for each setting to mend.
    """
    settings = settings or load_settings()
    telemetry.configure_logging(settings.log_level, settings.log_format)
    telemetry.meter_provider()
    # Made here and not in the lifespan, so that a wrong setting is told before anything is started.
    engine_running = run_engine(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with engine_running as engine:
            app.state.engine = engine
            yield
        await asyncio.to_thread(telemetry.flush)

    app = FastAPI(
        title="Voice calls",
        lifespan=lifespan,
        telemetry={
            "metrics": False,  # take a request 40 us; `RequestContextMiddleware` counts it in 5
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
    app.add_middleware(RequestContextMiddleware)  # outermost: it logs whatever the others answer
    errors.install(app)
    for router in [*ROUTERS, *ENGINE_ROUTERS]:
        app.include_router(router)
    return app
