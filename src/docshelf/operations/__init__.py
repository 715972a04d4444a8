"""Every operation, written once: a generator of steps that serves sync and async calls. It does no I/O itself."""
