"""The queues of a deployment, by the names that rows of `jobs` call them."""

from dataclasses import dataclass

from chalicelib.queue.dead_letters import DeadLetters
from chalicelib.queue.work_queue import WorkQueue


@dataclass(frozen=True, kw_only=True)
class Queues:
    """Both work queues, each with a worker of its own, and where both put what they give up."""

    work: WorkQueue
    priority: WorkQueue
    dead_letters: DeadLetters

    def named(self, name: str) -> WorkQueue:
        """Return the queue of this name; whatever is not meant for the priority queue is ordinary work."""
        return self.priority if name == "priority" else self.work
