"""For tests of your own handlers: a worker, its queues and outbox in this process, and a clock that stands still."""
