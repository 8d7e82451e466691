"""CloudWatch as functions fill it: on the emulator, a group a function and a stream an invocation."""

import json
import time
from dataclasses import dataclass
from typing import Any

from nightshift.local.aws import LocalAws

STREAM = "2026/03/02/[$LATEST]1"


@dataclass(frozen=True)
class CloudWatch:
    """The logs of the stage `prod`."""

    aws: LocalAws

    @property
    def client(self) -> Any:
        """The client of its logs."""
        return self.aws.client("logs")

    def group(self, function: str) -> str:
        """Make the group of a function, if there is none, and return its name."""
        name = f"/aws/lambda/nightshift-prod-{function}"
        if not self.client.describe_log_groups(logGroupNamePrefix=name)["logGroups"]:
            self.client.create_log_group(logGroupName=name)
        return name

    def write(self, function: str, *lines: str | dict[str, Any], ago: float = 0, stream: str = STREAM) -> None:
        """Let events of so many seconds ago arrive now, each a millisecond later than the one before."""
        name = self.group(function)
        known = self.client.describe_log_streams(logGroupName=name)["logStreams"]
        if stream not in {each["logStreamName"] for each in known}:
            self.client.create_log_stream(logGroupName=name, logStreamName=stream)
        first_ms = round(1000 * (time.time() - ago))
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        events = [{"timestamp": first_ms + n, "message": text} for n, text in enumerate(texts)]
        self.client.put_log_events(logGroupName=name, logStreamName=stream, logEvents=events)
