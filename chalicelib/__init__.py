"""What Lambda runs: the tasks, the queue worker and the core that both stand on."""
