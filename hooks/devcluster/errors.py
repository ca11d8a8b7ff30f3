"""What the API server answers instead of an object."""

from __future__ import annotations


class DevClusterError(Exception):
    """The root: whatever the dev cluster raises on purpose."""


class ApiError(DevClusterError):
    """A refused request: the HTTP code, metav1.Status' reason, and the message as a real API server words it."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message


def bad_request(message: str) -> ApiError:
    """400: the request makes no sense."""
    return ApiError(400, "BadRequest", message)


def forbidden(resource: str, name: str, message: str) -> ApiError:
    """403: an admission controller said no."""
    return ApiError(403, "Forbidden", f'{resource} "{name}" is forbidden: {message}')


def not_found(resource: str, name: str) -> ApiError:
    """404: no such object."""
    return ApiError(404, "NotFound", f'{resource} "{name}" not found')


def already_exists(resource: str, name: str) -> ApiError:
    """409 on create."""
    return ApiError(409, "AlreadyExists", f'{resource} "{name}" already exists')


def conflict(resource: str, name: str, message: str) -> ApiError:
    """409 on everything else: the object is not what the caller thought."""
    return ApiError(409, "Conflict", f'Operation cannot be fulfilled on {resource} "{name}": {message}')


def gone(message: str) -> ApiError:
    """410: a resourceVersion that is too old."""
    return ApiError(410, "Expired", message)


def invalid(kind: str, name: str, problems: list[str]) -> ApiError:
    """422: validation failed; all problems are named."""
    text = problems[0] if len(problems) == 1 else "[" + ", ".join(problems) + "]"
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {text}')
