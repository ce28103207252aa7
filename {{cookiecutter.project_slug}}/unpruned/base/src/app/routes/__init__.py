"""The HTTP routes. Add your own router to `ROUTERS`."""

from app.routes import health, webhooks
from app.routes.api import retellai

# Tried in this order: the one of few routes that is asked often comes first, probes come last.
ROUTERS = [
    webhooks.router,
    retellai.router,
    health.router,
]
