"""Helpers of the tests: servers, a proxy, one face for sync and async."""
