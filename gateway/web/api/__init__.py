"""The API describes itself: OpenAPI 3.1, made of the routes and of the types that decode and encode, and a page.

A route carries its own description (`words.Operation`, in `operations`); what every route may answer is in `errors`.
Nothing here serves anything but the description and the page: no alert, no state, no secret.
"""
