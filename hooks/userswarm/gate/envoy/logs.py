"""What Envoy tells of each request: the access log for people, and the stream log, which the gate reads.

Who it was comes out of the gate's answer, never out of a header: nothing that a client sends can be told as a user.
"""

from __future__ import annotations

from userswarm.gate.answers import TOO_EARLY, USER_HEADER, WORKSPACE_HEADER
from userswarm.gate.envoy.settings import STDOUT, EnvoySettings
from userswarm.gate.envoy.words import Config, extension, typed

METADATA = "envoy.filters.http.ext_authz"
"""The namespace in which the filter keeps what of the gate's answer is for Envoy alone."""

_WHO = {
    "type": "%ACCESS_LOG_TYPE%",
    "requestId": "%REQ(X-REQUEST-ID)%",
    "user": f"%DYNAMIC_METADATA({METADATA}:{USER_HEADER})%",
    "workspace": f"%DYNAMIC_METADATA({METADATA}:{WORKSPACE_HEADER})%",
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "bytesIn": "%BYTES_RECEIVED%",
    "bytesOut": "%BYTES_SENT%",
    "durationMs": "%DURATION%",
}

_WHAT = {
    "time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    # Without the query: tokens travel in there.
    "path": "%PATH(NQ:ORIG_OR_PATH)%",
    "protocol": "%PROTOCOL%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "upstream": "%UPSTREAM_HOST%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
}


def access_logs(settings: EnvoySettings) -> list[Config]:
    """Return both logs; the stream log also tells of what is still open, every `stream_log_interval`."""
    logs = []
    if settings.stream_log:
        logs.append(_log(settings.stream_log, ["DownstreamPeriodic", "DownstreamEnd"], _WHO))
    if settings.access_log:
        logs.append(_log(settings.access_log, ["DownstreamEnd"], {**_WHAT, **_WHO}))
    return logs


def _log(place: str, types: list[str], entry: dict[str, str]) -> Config:
    """Return a log of some kinds of lines; standard output by a way of its own: its file may be another account's."""
    log_format = {"json_format": entry}
    if place == STDOUT:
        log = extension(
            "envoy.access_loggers.stdout",
            "extensions.access_loggers.stream.v3.StdoutAccessLog",
            log_format=log_format,
        )
    else:
        log = extension(
            "envoy.access_loggers.file",
            "extensions.access_loggers.file.v3.FileAccessLog",
            path=place,
            log_format=log_format,
        )
    return {**log, "filter": {"log_type_filter": {"types": types}}}


def local_replies() -> Config:
    """Return how Envoy's own answers look: as the gate's do, which pass as they are."""
    as_it_is = {
        "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
        "content_type": "application/json",
    }
    return {
        "mappers": [
            {
                "filter": _is(f"response.code_details == 'ext_authz_denied' && response.code == {TOO_EARLY}"),
                "body_format_override": as_it_is,
                "status_code": 503,
            },
            {"filter": _is("response.code_details == 'ext_authz_denied'"), "body_format_override": as_it_is},
            {
                "filter": _is("response.code_details == 'ext_authz_error'"),
                "body_format_override": _error("nobody can decide just now"),
                "headers_to_add": [{"header": {"key": "retry-after", "value": "5"}}],
            },
            {
                "filter": {
                    "status_code_filter": {
                        "comparison": {"op": "GE", "value": {"default_value": 500, "runtime_key": "gate.no_answer"}}
                    }
                },
                "body_format_override": _error("the runtime does not answer"),
            },
        ],
        "body_format": _error("the request is refused: %RESPONSE_CODE_DETAILS%"),
    }


def _error(message: str) -> Config:
    return {"json_format": {"error": message, "requestId": "%REQ(X-REQUEST-ID)%"}}


def _is(expression: str) -> Config:
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": typed("extensions.access_loggers.filters.cel.v3.ExpressionFilter", expression=expression),
        }
    }
