"""The types of what metadata say where that may become part of a path."""

from typing import Annotated

from pydantic import StringConstraints

from gpu_timing_assets.core.data_root import NAME_PATTERN, WORKLOAD_ID_PATTERN

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=200)]
WorkloadId = Annotated[str, StringConstraints(pattern=WORKLOAD_ID_PATTERN, max_length=200)]
# of a directory that was given by hand, which may be called anything
PathPart = Annotated[str, StringConstraints(pattern=r"^[^./\\\x00][^/\\\x00]*$", max_length=255)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
UtcTime = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")]
