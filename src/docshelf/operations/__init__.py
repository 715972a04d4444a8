"""Every operation, written once: a generator of steps that serves sync and async. No I/O happens in it."""
