"""What the tests stand on: servers, a proxy, one face for sync and async."""
