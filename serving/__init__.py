"""Serving the decoder: a local model server with TF Serving's API, and a client for either."""
