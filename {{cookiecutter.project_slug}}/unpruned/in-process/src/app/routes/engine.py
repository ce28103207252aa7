"""Routes and errors that this variant's engine adds; yours go to `app.routes`."""

from fastapi import APIRouter

from app.routes.problems import ProblemType

ROUTERS: list[APIRouter] = []
PROBLEMS: dict[type[Exception], ProblemType] = {}
