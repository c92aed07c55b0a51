"""The routes, a module for each tag of the OpenAPI document."""
