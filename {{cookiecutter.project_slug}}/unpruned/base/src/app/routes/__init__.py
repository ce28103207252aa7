"""The HTTP routes. Add your own router to `ROUTERS`."""

from app.routes import health, webhooks
from app.routes.api import retellai

ROUTERS = [
    health.router,
    retellai.router,
    webhooks.router,
]
