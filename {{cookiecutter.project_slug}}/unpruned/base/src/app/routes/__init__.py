"""The HTTP routes. Add your own router to `ROUTERS`."""

from app.routes import health, webhooks
from app.routes.api import retellai

# Matched in this order: the busiest router is first.
ROUTERS = [
    webhooks.router,
    retellai.router,
    health.router,
]
