"""For backends: create UserSwarms, wait for them, find where a user's traffic goes.

client      UserSwarmClient: ensure, deploy, wait_verified, resolve, suspend, resume, delete, get, list, touch
applying    write what is wanted of a swarm, and only that
waiting     until a swarm is verified, or gone
use         note that a swarm is in use, and wake it
access      what these stand on: the requests, the memory, and whose a swarm is
errors      all that it raises
model       Swarm and Endpoint
dedicated   a namespace of the swarm's own, and what may not be in it
naming      description -> workspace id -> name and labels
fields      which fields are ours, and whether applying would change anything
follow      one UserSwarm, change by change
cache       all of them, kept up to date by one watch
activity    who was touched lately, and what is written of it
api         the requests, shared with the reaper
transport   one request
retry       how often and how long to try again
"""

from userswarm.backend.client import UserSwarmClient
from userswarm.backend.errors import (
    ApiStatusError,
    BackendError,
    BeingDeletedError,
    ConfigurationError,
    ConflictError,
    ExpiredError,
    FieldConflict,
    FieldConflictError,
    InvalidSpecError,
    InvalidWorkspaceError,
    NotFound,
    NotVerified,
    OwnershipError,
    SilenceError,
    SwarmFailedError,
    SwarmGoneError,
    SwarmInvalidError,
    UnreachableError,
    WaitError,
    WaitTimeoutError,
)
from userswarm.backend.model import Endpoint, Swarm
from userswarm.backend.naming import instance_name
from userswarm.backend.retry import RetryPolicy

__all__ = [
    "ApiStatusError",
    "BackendError",
    "BeingDeletedError",
    "ConfigurationError",
    "ConflictError",
    "Endpoint",
    "ExpiredError",
    "FieldConflict",
    "FieldConflictError",
    "InvalidSpecError",
    "InvalidWorkspaceError",
    "NotFound",
    "NotVerified",
    "OwnershipError",
    "RetryPolicy",
    "SilenceError",
    "Swarm",
    "SwarmFailedError",
    "SwarmGoneError",
    "SwarmInvalidError",
    "UnreachableError",
    "UserSwarmClient",
    "WaitError",
    "WaitTimeoutError",
    "instance_name",
]
