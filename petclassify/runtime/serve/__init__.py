"""The HTTP server and its page: starlette on uvicorn, one process, no torch.

A request goes through these modules in this order:

    connections     slow and too many senders
    gate            who may ask: host, origin; access log; metrics
    app             the routes
    intake          a body into memory, within limits; multipart
    batching        photos waiting for a worker; small batches under load

`answers` is what JSON they all answer with.
"""
