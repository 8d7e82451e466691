"""The developer's side, never packaged into Lambda: the command-line tool and the local runtime."""
