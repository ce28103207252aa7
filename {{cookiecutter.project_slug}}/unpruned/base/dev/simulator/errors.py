"""Errors in Retell's shape: {"status": "error", "message": ...}."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

# The example messages of Retell's OpenAPI document.
MESSAGES = {
    400: "Invalid request format, please check API reference.",
    401: "API key is missing or invalid.",
    402: "Trial has ended, please add payment method.",
    403: "Forbidden",
    404: "The requested resource was not found.",
    409: "Resource update conflict.",
    422: "Cannot find requested asset under given api key.",
    429: "Account rate limited, please throttle your requests.",
    500: "An unexpected server error occurred.",
}


class ApiError(Exception):
    """An error answer; `message` defaults to Retell's message for the status."""

    def __init__(self, status: int, message: str | None = None) -> None:
        self.status = status
        self.message = message or MESSAGES.get(status, MESSAGES[500])
        super().__init__(f"{status}: {self.message}")


def error_response(
    status: int, message: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Build an error answer; `message` defaults to Retell's message for the status."""
    text = message or MESSAGES.get(status, MESSAGES[500])
    return JSONResponse({"status": "error", "message": text}, status, headers)


def unknown_path(_request: Request, error: Exception) -> JSONResponse:
    """Build the answer to an unknown path or method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return error_response(status, "The simulator does not serve this path.")
